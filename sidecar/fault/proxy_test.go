//go:build unix

package fault

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/sidecar/proxy"
	"github.com/occystrap/occystrap/sidecar/proxy/proxytest"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

// A world is a proxy in this process, and a registry on the other side of it.
type world struct {
	*proxytest.Client
	p     *proxy.Proxy
	other *proxytest.Registry
	store *pipelinetest.Store
	image ocispec.Descriptor // an index, whose layers do not compress
}

// newWorld starts a proxy of a config; what is wrong in its store at the end fails the
// test.
func newWorld(t *testing.T, edit func(c *proxy.Config, other string)) *world {
	t.Helper()
	w := &world{other: proxytest.NewRegistry(t), store: pipelinetest.NewStore()}
	w.image = proxytest.Images(t, w.store, 7, 3)[2]
	dir := t.TempDir()
	c := proxy.Config{
		Store: proxy.StoreConfig{Dir: dir}, Retries: 1, Backoff: time.Millisecond, Fresh: proxy.Fresh{TTL: -1, StaleWhile: -1, StaleError: -1},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	edit(&c, w.other.Host)
	var err error
	w.p, err = proxy.New(t.Context(), c)
	must(t, err)
	server := httptest.NewServer(w.p)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		must(t, errors.Join(w.p.Drain(context.Background()), w.p.Close()))
		verify(t, dir)
	})
	w.Client = client(t, server.URL)
	return w
}

// mirrors is a proxy that mirrors the other registry as up.example.
func mirrors(c *proxy.Config, other string) {
	c.Upstreams = []proxy.Upstream{{Remote: proxy.Remote{Host: "up.example", Address: other, Insecure: true, Private: true}}}
}

// sendsOn is a proxy that keeps nothing and filters everything.
func sendsOn(c *proxy.Config, other string) {
	c.Downstream = proxy.Remote{Host: other, Prefix: "kept", Insecure: true, Private: true}
	c.All = rules.Spec{Filters: []string{"normalize-timestamps"}}
}

// pull pulls through, by tag.
func (w *world) pull(ctx context.Context) (digest.Digest, error) {
	return w.Pull(ctx, "team/app", "1", "ns=up.example")
}

// push pushes through.
func (w *world) push(ctx context.Context) (digest.Digest, error) {
	return w.Push(ctx, "team/app", w.store, w.image, "1")
}

// status is that of an error; 0 where the answer was cut.
func status(err error) int {
	var s *proxytest.StatusError
	if errors.As(err, &s) {
		return s.Status
	}
	return 0
}
