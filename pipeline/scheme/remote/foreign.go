package remote

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// OpenURL returns a function that opens the URLs of foreign layers, for
// pipeline.Query.OpenURL. It sends no login to anybody, retries as a registry
// request does, and takes plain HTTP only where cfg.Insecure is set or the host
// is this machine. What it returns is not verified.
func OpenURL(cfg Config) (func(ctx context.Context, address string) (io.ReadCloser, error), error) {
	cfg = cfg.withLimiter().withDefaults()
	t, err := newTransport(cfg)
	if err != nil {
		return nil, err
	}
	c := (&end{cfg: cfg, transport: t}).client("", pullScope)
	return func(ctx context.Context, address string) (io.ReadCloser, error) {
		u, err := url.Parse(address)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("foreign layer: %q is no address", printable(address))
		}
		u.User = nil
		if u.Scheme != "https" && (u.Scheme != "http" || !cfg.Insecure && !isLoopback(u.Host)) {
			return nil, fmt.Errorf("foreign layer at %s: %q is not HTTPS", u.Host, printable(u.Scheme))
		}
		resp, err := c.do(ctx, call{method: http.MethodGet, url: u})
		if err != nil {
			return nil, fmt.Errorf("foreign layer at %s: %w", u.Host, err)
		}
		return resp.Body, nil
	}, nil
}
