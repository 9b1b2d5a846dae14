package cliplugin

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/sidecar/proxy"
)

// proxyNotes are what a proxy tells at a terminal.
type proxyNotes struct {
	out, err io.Writer
	quiet    bool
	level    slog.Level
}

func (p *program) proxyNotes() *proxyNotes {
	n := &proxyNotes{out: p.docker.Out(), err: p.docker.Err(), quiet: p.options.quiet}
	switch {
	case p.options.quiet:
		n.level = slog.LevelWarn
	case p.options.detailed():
		n.level = slog.LevelDebug
	}
	return n
}

// log is a line for each image and for what goes wrong, with the time, which no journal
// adds here.
func (n *proxyNotes) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(n.err, &slog.HandlerOptions{Level: n.level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			a.Value = slog.StringValue(a.Value.Time().Format(time.TimeOnly))
		}
		return a
	}}))
}

// started says what to type next.
func (n *proxyNotes) started(c proxy.Config) func([]net.Addr) {
	return func(at []net.Addr) {
		if n.quiet || len(at) == 0 {
			return
		}
		here := at[0].String()
		var b strings.Builder
		var all []string
		for _, a := range at {
			all = append(all, a.String())
		}
		fmt.Fprintf(&b, "Listening at %s; Ctrl-C ends it.\n", strings.Join(all, " and "))
		switch {
		case c.Downstream.Host != "":
			fmt.Fprintf(&b, "What is pushed goes to %s.\n", pipeline.OneLine(strings.TrimSuffix(c.Downstream.Host+"/"+c.Downstream.Prefix, "/")))
		default:
			fmt.Fprintf(&b, "Images are kept in %s.\n", pipeline.OneLine(c.Store.Dir))
		}
		if c.Upstream != "" {
			fmt.Fprintf(&b, "What nobody has pushed comes from %s.\n", pipeline.OneLine(c.Upstream))
		}
		fmt.Fprintf(&b, "\n  docker tag app:1 %[1]s/app:1\n  docker push %[1]s/app:1\n", here)
		if c.Upstream != "" {
			fmt.Fprintf(&b, "  docker pull %s/%s\n", here, cmp.Or(map[string]string{"docker.io": "library/busybox"}[c.Upstream], "NAME:TAG"))
		}
		b.WriteString("\n" + plainHint(at[0]))
		_, _ = io.WriteString(n.out, b.String())
	}
}

// plainHint says how clients are told that there is no TLS.
func plainHint(at net.Addr) string {
	tcp, is := at.(*net.TCPAddr)
	if !is || !tcp.IP.IsLoopback() {
		return ""
	}
	return `It speaks plain HTTP, which Docker takes on 127.0.0.1 as it is, with its classic
and with its containerd image store. If Docker is in a virtual machine, as Docker
Desktop is, 127.0.0.1 is that machine. Podman and skopeo: --tls-verify=false
(--dest-tls-verify=false); crane and regctl know by themselves or take --insecure;
containerd and nerdctl take ` + "http://" + at.String() + ` in a hosts.toml.
`
}

// ended tells what was done.
func (n *proxyNotes) ended(p *proxy.Proxy) {
	if n.quiet {
		return
	}
	_, _ = io.WriteString(n.err, p.Totals(context.Background())+"\n")
}
