package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/lanes"
	"github.com/occystrap/occystrap/sidecar/proxy/access"
	"github.com/occystrap/occystrap/sidecar/proxy/route"
	"github.com/occystrap/occystrap/sidecar/view"
)

// viewName is the FileDescriptorName= of the view's socket.
const viewName = "view"

// viewSettings is the table [lanes.view].
type viewSettings struct {
	// Listen is an address, where systemd passes no socket; "" is no view.
	Listen string `toml:"listen"`
	// Hosts are names that clients call it by, besides addresses.
	Hosts []string `toml:"hosts"`
	// Users and Tokens are files with who may read; beyond this machine one of them is needed.
	Users  string `toml:"users"`
	Tokens string `toml:"tokens"`
}

// viewListeners are those of systemd, or one at the address of the settings. There
// need be none.
func (p *program) viewListeners(ctx context.Context, all passedSockets, s viewSettings) ([]net.Listener, error) {
	if len(all) > 0 {
		ls, err := all.take(viewName, "tcp")
		if len(ls) == 0 && s.Listen != "" {
			p.log.Warn("there is no view: systemd has its socket; enable occystrapd-view.socket, which says where it listens", "listen", s.Listen)
		}
		return ls, err
	}
	if s.Listen == "" {
		return nil, nil
	}
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", s.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for the view ([lanes.view] listen): %w", err)
	}
	return []net.Listener{l}, nil
}

// view is the server of the view, with the guard of the proxy before it: no pages of
// browsers, and nobody from elsewhere without a login. nil where nobody listens.
func (p *program) view(s viewSettings, server *lanes.Server, ls []net.Listener) (*http.Server, error) {
	if len(ls) == 0 {
		return nil, nil //nolint:nilnil // there is none
	}
	cfg := access.Config{Table: "lanes.view", Hosts: s.Hosts, Users: s.Users, Tokens: s.Tokens, Log: p.log}
	for _, l := range ls {
		cfg.Listen = append(cfg.Listen, l.Addr())
	}
	guard, err := access.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("the view: %w", err)
	}
	var libraries []view.Library
	for _, l := range server.Libraries() {
		libraries = append(libraries, l)
	}
	images := view.New(libraries, p.log)
	return guard.Server(guard.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := guard.Permit(w, r, route.Target{Kind: route.Pushed})
		var refusal *registry.Error
		if errors.As(err, &refusal) {
			registry.Headers(w)
			refusal.Answer(w)
			return
		}
		images.ServeHTTP(w, r)
	}))), nil
}

// serveView answers until the gate is shut, and lets those who are reading finish
// until ctx ends.
func serveView(ctx context.Context, server *http.Server, doors []*Door) error {
	failed := make(chan error, len(doors))
	for _, d := range doors {
		go func() {
			err := server.Serve(registry.Plain(d))
			failed <- errors.Join(unlessShut(err), d.Close())
		}()
	}
	var errs []error
	for range doors {
		errs = append(errs, <-failed)
	}
	if len(doors) == 0 {
		return nil
	}
	if err := server.Shutdown(ctx); err != nil { // they are sent away
		errs = append(errs, server.Close())
	}
	return errors.Join(errs...)
}

// unlessShut is nil for the end of a listener that was closed.
func unlessShut(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
