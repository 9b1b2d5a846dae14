package sidecar

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// Main runs occystrapd with the arguments after its name, and returns the exit
// code: 0 done or idle, 1 failed, 2 for a wrong command line.
func Main(version string, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	d := &program{version: version, stdout: stdout, log: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{ReplaceAttr: withoutTime}))}
	err := d.run(ctx, args)
	var wrong *usageError
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &wrong):
		fmt.Fprintf(stderr, "occystrapd: %v\n\n%s", err, wrong.help)
		return 2
	case err != nil:
		fmt.Fprintf(stderr, "occystrapd: %v\n", err)
		return 1
	}
	return 0
}

// help is all that there is to say on a command line.
const help = `Usage: occystrapd lanes [options]
       occystrapd proxy [options]

occystrapd proxy: a registry that filters what is pushed and pulled through it;
"occystrapd proxy --help" has its options.

occystrapd lanes: lend Docker's and containerd's image files to members of a group, read-only, on
a unix socket. systemd starts it (occystrapd-lanes.socket); by hand it listens
itself. With [lanes.view] in the settings, or occystrapd-view.socket, it also is a
registry over containerd's images, which can only be read.

  --config FILE   settings; default /etc/occystrap/config.toml
  --listen PATH   socket to make where systemd passes none;
                  default /run/occystrap/control.sock
  --idle TIME     end when nobody has been connected for so long, where systemd
                  starts it; default 1m, 0 is never
  --version       print the version
`

// A program is one run of occystrapd.
type program struct {
	version string
	stdout  io.Writer
	log     *slog.Logger
}

// A usageError is a mistake on the command line, with the help that mends it.
type usageError struct{ said, help string }

// wrongOption is the mistake that package flag found in the options of a daemon.
func wrongOption(daemon string, err error) error {
	said := err.Error()
	if name, unknown := strings.CutPrefix(said, "flag provided but not defined: "); unknown {
		said = "there is no option " + name
	}
	return &usageError{said, fmt.Sprintf("\"occystrapd %s --help\" has the options.\n", daemon)}
}

func (e *usageError) Error() string { return e.said }

func (p *program) run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return &usageError{"which daemon? There are: lanes, proxy", help}
	}
	switch args[0] {
	case "lanes":
		return p.lanes(ctx, args[1:])
	case "proxy":
		return p.proxy(ctx, args[1:])
	case "version", "--version", "-version":
		_, err := fmt.Fprintf(p.stdout, "occystrapd %s\n", p.version)
		return err
	case "help", "--help", "-help", "-h":
		_, err := io.WriteString(p.stdout, help)
		return err
	}
	return &usageError{fmt.Sprintf("there is no daemon %q; there are: lanes, proxy", args[0]), help}
}

// withoutTime leaves the time to the journal.
func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// life is what every daemon does from its first listener to its end: it tells
// systemd, serves until ctx ends or nobody is there, and lets those who are
// connected finish for drain.
func (p *program) life(ctx context.Context, g *Gate, n notifier, drain time.Duration, serve func(context.Context) error) error {
	serving, sendAway := context.WithCancel(context.WithoutCancel(ctx))
	defer sendAway()
	served := make(chan error, 1)
	go func() { served <- serve(serving) }()
	n.tell("READY=1")
	err := g.Open(ctx)
	n.tell("STOPPING=1")
	defer n.extend(drain)() //nolint:contextcheck // it begins when ctx ends
	timer := time.AfterFunc(drain, sendAway)
	defer timer.Stop()
	return errors.Join(err, <-served)
}
