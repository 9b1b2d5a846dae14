package sidecar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/occystrap/occystrap/sidecar/proxy"
)

const (
	// registryName is the FileDescriptorName= of the proxy's sockets.
	registryName = "registry"
	// DefaultListen is where the proxy listens, as the Python tool's did.
	DefaultListen = "127.0.0.1:5050"
	// DefaultPort is what an address without a port gets.
	DefaultPort = "5050"
	// proxyDrain is how long pushes may go on when the proxy is stopped; the unit's
	// TimeoutStopSec= is longer.
	proxyDrain = 5 * time.Minute
)

// A ProxyRun is a proxy with sockets and signals around it: that of occystrapd and
// that of a terminal.
type ProxyRun struct {
	Config proxy.Config
	// Listen are addresses, HOST:PORT, where systemd passes no socket with the name "registry".
	Listen []string
	// Idle is when it ends if nobody is connected and systemd starts it again; 0 is
	// never.
	Idle time.Duration
	// Reload reads the settings again after a SIGHUP: Config, Listen and Idle. Nil ignores it.
	Reload func() (ProxyRun, error)
	// Started is told where it listens; it may be nil.
	Started func(at []net.Addr)
	// Ended is told what it has done; it may be nil.
	Ended func(*proxy.Proxy)
	Log   *slog.Logger

	activated bool // systemd passed the sockets
}

// ServeProxy runs a proxy until ctx ends or nobody is there; what was begun is
// finished, for 5 minutes at most.
func ServeProxy(ctx context.Context, r ProxyRun) (err error) {
	ls, activated, err := passed(registryName, "tcp", "unix")
	r.activated = activated
	if err == nil && !activated {
		ls, err = listenAt(ctx, r.Listen)
	}
	if err != nil {
		return errors.Join(err, closeAll(ls))
	}
	for _, l := range ls {
		r.Config.Listening = append(r.Config.Listening, l.Addr())
	}
	p, err := proxy.New(ctx, r.Config)
	if err != nil {
		return errors.Join(err, closeAll(ls))
	}
	err = r.serve(ctx, p, ls)
	if r.Ended != nil {
		r.Ended(p)
	}
	return errors.Join(err, p.Close()) //nolint:contextcheck // it waits for nobody
}

func closeAll(ls []net.Listener) (err error) {
	for _, l := range ls {
		err = errors.Join(err, l.Close())
	}
	return err
}

// listenAt makes the sockets, all or none.
func listenAt(ctx context.Context, addresses []string) (ls []net.Listener, err error) {
	for _, address := range addresses {
		at, err := ListenAddress(address)
		if err != nil {
			return nil, errors.Join(err, closeAll(ls))
		}
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", at)
		if err != nil {
			remedy := "name another address with --listen"
			if errors.Is(err, syscall.EADDRINUSE) {
				remedy = "stop what is there, or " + remedy
			}
			return nil, errors.Join(fmt.Errorf("listen at %s: %w; %s", at, bareError(err), remedy), closeAll(ls))
		}
		ls = append(ls, l)
	}
	return ls, nil
}

// bareError is why a socket could not be used: where is said already.
func bareError(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// ListenAddress reads HOST:PORT, HOST or :PORT. What has no port gets 5050, and
// what has no host listens everywhere, so that it has to be said by an address:
// 0.0.0.0 or [::].
func ListenAddress(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = strings.Trim(s, "[]"), DefaultPort
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("%q has no port from 0 to 65535; it takes HOST:PORT, like %s", s, DefaultListen)
	}
	if host == "localhost" {
		host = "127.0.0.1" // clients that take ::1 for it would meet nobody
	}
	if net.ParseIP(host) == nil {
		return "", fmt.Errorf("%q is not an address to listen at; it takes HOST:PORT with a number for HOST, like %s or [::1]:%s", s, DefaultListen, DefaultPort)
	}
	return net.JoinHostPort(host, port), nil
}

func (r ProxyRun) serve(ctx context.Context, p *proxy.Proxy, ls []net.Listener) error {
	n := notifier{r.Log}
	idle := r.Idle
	if !r.activated {
		idle = 0 // nobody would start it again
	}
	gate := NewGate(idle, func(guests int) { n.status("%d connections", guests) })
	var doors []*Door
	var at []net.Addr
	for _, l := range ls {
		if r.Started == nil {
			r.Log.Info("listening", "at", l.Addr().String())
		}
		at = append(at, l.Addr())
		doors = append(doors, gate.Door(l))
	}
	if r.Started != nil {
		r.Started(at)
	}
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer r.reloads(work, p, n)()
	go n.watch(work, gate.unlessShut(func(ctx context.Context) error { return p.Ask(ctx, doors[0].Visit) }))
	life := &program{log: r.Log}
	return life.life(ctx, gate, n, proxyDrain, func(ctx context.Context) error {
		listeners := make([]net.Listener, len(doors))
		for i, d := range doors {
			listeners[i] = d
		}
		return p.Serve(ctx, listeners...)
	})
}

// reloads gives the proxy new settings at each SIGHUP until stop is called.
func (r ProxyRun) reloads(ctx context.Context, p *proxy.Proxy, n notifier) (stop func()) {
	if r.Reload == nil || hangUp == nil {
		return func() {}
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, hangUp)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-asked:
				r.reload(p, n) //nolint:contextcheck // settings are not half read
			}
		}
	}()
	return func() { signal.Stop(asked) }
}

// reread reads the settings again, and refuses what takes a new start.
func (r ProxyRun) reread() (proxy.Config, error) {
	again, err := r.Reload()
	switch {
	case err != nil:
		return proxy.Config{}, err
	case !r.activated && !slices.Equal(again.Listen, r.Listen): // systemd's sockets say where it listens, if there are any
		return proxy.Config{}, errors.New("the addresses in listen do not change while the proxy runs; restart it")
	case r.activated && again.Idle != r.Idle:
		return proxy.Config{}, errors.New("idle does not change while the proxy runs; restart it")
	}
	again.Config.Listening = r.Config.Listening
	return again.Config, nil
}

// reload gives the proxy new settings. Bad ones are told of, and the old ones
// stay.
func (r ProxyRun) reload(p *proxy.Proxy, n notifier) {
	n.tell("RELOADING=1" + monotonic())
	c, err := r.reread()
	if err == nil {
		err = p.Reload(c)
	}
	if err != nil {
		r.Log.Error("the new settings are refused, the old ones stay", "error", err)
		n.status("the new settings are refused, the old ones stay: %v", err)
	} else {
		r.Log.Info("the settings were read again")
		n.status("the settings were read again")
	}
	n.tell("READY=1")
}
