package cliplugin

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/occystrap/occystrap/plugin/control"
	"github.com/occystrap/occystrap/plugin/control/wire"
)

// noSidecar is the value of --sidecar that leaves it aside.
const noSidecar = "none"

func (o *options) installSidecar(flags *pflag.FlagSet) {
	flags.StringVar(&o.sidecar, "sidecar", wire.DefaultSocket, "Socket of the sidecar, which lends a daemon's files; none leaves it aside ($OCCYSTRAP_SIDECAR)")
}

// lender is the sidecar's client; nil where it is left aside. Nothing is dialled
// before a lane asks. Its few connections end with the program.
func (p *program) lender() *control.Client {
	if p.options.sidecar == noSidecar || p.options.sidecar == "" {
		return nil
	}
	return control.New(p.options.sidecar)
}

// A sidecar is what "version" tells of it.
type sidecar struct {
	Socket   string `json:"socket"`
	Version  string `json:"version,omitempty"`
	Protocol int    `json:"protocol,omitempty"`
	Error    string `json:"error,omitempty"`
}

// sidecar asks it who it is; nil where it is left aside.
func (p *program) sidecar(ctx context.Context) *sidecar {
	c := p.lender()
	if c == nil {
		return nil
	}
	defer c.Close()
	said := &sidecar{Socket: c.Socket()}
	info, err := c.Hello(ctx)
	if err != nil {
		said.Error = err.Error()
		return said
	}
	said.Version, said.Protocol = info.Program, info.Protocol
	return said
}

// String is a line for people.
func (s *sidecar) String() string {
	switch {
	case s == nil:
		return ""
	case s.Error != "":
		return s.Error + "\n"
	}
	return fmt.Sprintf("sidecar %s at %s (protocol %d)\n", s.Version, s.Socket, s.Protocol)
}
