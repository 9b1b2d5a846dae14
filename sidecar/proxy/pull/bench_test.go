package pull_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/pull"
	"github.com/occystrap/occystrap/sidecar/store"
)

const (
	// latency is that of an upstream in the same country.
	latency = 20 * time.Millisecond
	// rate is that of a good line, in bytes per second.
	rate       = 125 << 20
	benchSize  = 16 << 20
	benchCount = 8
)

// A farAway registry takes a while to answer, and sends no faster than a line.
func farAway(b *testing.B) (*far, []digest.Digest) {
	b.Helper()
	up := newFar(b)
	s := pipelinetest.NewStore()
	m := ocispec.Manifest{Versioned: versioned, MediaType: ocispec.MediaTypeImageManifest, Config: s.Put(ocispec.MediaTypeEmptyJSON, []byte("{}"))}
	r := rand.NewChaCha8([32]byte{2})
	for range benchCount {
		content := make([]byte, benchSize)
		_, _ = r.Read(content)
		m.Layers = append(m.Layers, s.Put("application/data", content))
	}
	desc := up.push(b, repo, "1", s.Source(s.PutJSON(b, ocispec.MediaTypeImageManifest, m)))
	up.fail(func(http.ResponseWriter, *http.Request) bool {
		<-time.After(latency) // the line
		return false
	})
	return up, up.blobs(b, repo, desc.Digest)
}

// A line is shared by all connections that go through it.
type line struct {
	net.Listener
	mu   sync.Mutex
	free time.Time
}

func (l *line) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &lineConn{c, l}, err
}

type lineConn struct {
	net.Conn
	l *line
}

func (c *lineConn) Write(p []byte) (int, error) {
	c.l.mu.Lock()
	if now := time.Now(); c.l.free.Before(now) {
		c.l.free = now
	}
	c.l.free = c.l.free.Add(time.Duration(len(p)) * time.Second / rate)
	until := c.l.free
	c.l.mu.Unlock()
	<-time.After(time.Until(until) - 2*time.Millisecond)
	return c.Conn.Write(p)
}

// pullImage pulls as Docker does, three layers at a time, and says when the first byte of
// a layer came.
func pullImage(b *testing.B, base string, blobs []digest.Digest) (first time.Duration) {
	b.Helper()
	start := time.Now()
	var once sync.Once
	fetch := func(path string) error {
		r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, base+"/v2/"+path, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: status %d", path, resp.StatusCode)
		}
		one := make([]byte, 1)
		if _, err := io.ReadFull(resp.Body, one); err != nil {
			return err
		}
		if resp.ContentLength == benchSize {
			once.Do(func() { first = time.Since(start) })
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	if err := fetch(manifestPath("1")); err != nil {
		b.Fatal(err)
	}
	var g errgroup.Group
	g.SetLimit(3)
	for _, d := range blobs {
		g.Go(func() error { return fetch(blobPath(d)) })
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	return first
}

// realProxy is one over the real store.
func realProxy(b *testing.B, addr string) (base string, end func()) {
	b.Helper()
	s, err := store.Open(context.Background(), b.TempDir(), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	p, err := pull.New(pull.Config{
		Upstreams: []pull.Upstream{{Host: host, Address: addr, Client: client(b)}},
		Space: func(name string) pull.Space {
			return s.Space(name, store.SpaceOptions{Volatile: true, Sparse: true})
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	srv := httptest.NewServer(registry.New(p.Backend(host), registry.Options{}))
	return srv.URL, func() {
		srv.Close()
		if err := p.Close(); err != nil {
			b.Error(err)
		}
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	}
}

func BenchmarkPull(b *testing.B) {
	up, blobs := farAway(b)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: up.srv.Config.Handler, ReadHeaderTimeout: time.Minute}
	go func() { _ = srv.Serve(&line{Listener: l}) }()
	b.Cleanup(func() { _ = srv.Close() })
	report := func(b *testing.B, first time.Duration) {
		b.Helper()
		b.SetBytes(benchSize * benchCount)
		b.ReportMetric(float64(first.Milliseconds())/float64(b.N), "first-ms")
	}
	b.Run("direct", func(b *testing.B) {
		var first time.Duration
		for range b.N {
			first += pullImage(b, "http://"+l.Addr().String(), blobs)
		}
		report(b, first)
	})
	b.Run("miss", func(b *testing.B) {
		var first time.Duration
		for range b.N {
			b.StopTimer()
			base, end := realProxy(b, l.Addr().String())
			b.StartTimer()
			first += pullImage(b, base, blobs)
			b.StopTimer()
			end()
			b.StartTimer()
		}
		report(b, first)
	})
	b.Run("hit", func(b *testing.B) {
		base, end := realProxy(b, l.Addr().String())
		defer end()
		pullImage(b, base, blobs)
		b.ResetTimer()
		var first time.Duration
		for range b.N {
			first += pullImage(b, base, blobs)
		}
		report(b, first)
	})
	b.Run("head", func(b *testing.B) {
		base, end := realProxy(b, l.Addr().String())
		defer end()
		pullImage(b, base, blobs)
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
			defer c.CloseIdleConnections()
			for pb.Next() {
				resp, err := c.Head(base + "/v2/" + manifestPath("1"))
				if err != nil || resp.StatusCode != http.StatusOK {
					b.Error(err)
					return
				}
				_ = resp.Body.Close()
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
	})
}
