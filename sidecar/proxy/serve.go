package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/occystrap/occystrap/pipeline/registry"
)

// Serve answers at listeners until all of them are closed, finishes the requests
// that are under way and what they began, and returns. When ctx ends, what is not
// finished is cut.
func (p *Proxy) Serve(ctx context.Context, ls ...net.Listener) error {
	server := p.current().guard.Server(p)
	server.ConnContext = p.connContext
	failed := make(chan error, len(ls))
	for _, l := range ls {
		go func() {
			err := server.Serve(p.wrap(l))
			failed <- errors.Join(unlessClosed(err), unlessClosed(l.Close()))
		}()
	}
	var errs []error
	for range ls {
		errs = append(errs, <-failed)
	}
	errs = append(errs, shut(ctx, server), p.Drain(ctx))
	return errors.Join(errs...)
}

// shut waits for the requests that are under way.
func shut(ctx context.Context, server *http.Server) error {
	if err := server.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("requests did not end in time and were cut: %w", err), server.Close())
	}
	return nil
}

// wrap has a listener speak TLS, or tell who tries to that it does not.
func (p *Proxy) wrap(l net.Listener) net.Listener {
	if p.current().tls == nil {
		return registry.Plain(l)
	}
	return tls.NewListener(l, &tls.Config{
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return p.current().tls, nil },
	})
}

func unlessClosed(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
