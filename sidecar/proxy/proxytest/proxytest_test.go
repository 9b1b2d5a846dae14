package proxytest_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.uber.org/goleak"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/sidecar/proxy/proxytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stranger is a client of the registry like any other.
func stranger(r *proxytest.Registry) *proxytest.Client {
	return &proxytest.Client{Base: r.Base, HTTP: r.HTTP}
}

// The client sees every fault, and nothing where there is none.
func TestFaultsAreSeen(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]proxytest.Fault{
		"cut": proxytest.Cut(3), "short": proxytest.Short, "long": proxytest.Long, "other": proxytest.Other,
		"wrong digest": proxytest.Of(http.MethodGet, "manifests", proxytest.WrongDigest), "status": proxytest.Status(http.StatusBadGateway),
		"blob": proxytest.Of(http.MethodGet, "blobs", proxytest.Other), "first": proxytest.First(1, proxytest.Cut(0)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, s := proxytest.NewRegistry(t), pipelinetest.NewStore()
			image := proxytest.Images(t, s, 1, 1)[0]
			r.Push(t, "app", s, image, "1")
			c := stranger(r)
			pull := func() error { _, err := c.Pull(t.Context(), "app", image.Digest.String(), ""); return err }
			if err := pull(); err != nil {
				t.Fatal(err)
			}
			r.Break(fault)
			if err := pull(); err == nil {
				t.Error("the fault is not seen")
			}
			r.Break(nil)
			if err := pull(); err != nil {
				t.Error(err)
			}
			if n := r.Asked("GET /v2/app/manifests/" + image.Digest.String()); n != 3 {
				t.Errorf("the manifest was asked for %d times", n)
			}
		})
	}
}

func TestStalledAnswersEndWithTheirClient(t *testing.T) {
	t.Parallel()
	r, s := proxytest.NewRegistry(t), pipelinetest.NewStore()
	image := proxytest.Images(t, s, 1, 1)[0]
	r.Push(t, "app", s, image, "1")
	r.Break(proxytest.Stall(3))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := stranger(r).Pull(ctx, "app", "1", ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// What a client sent before it was hung up on has no effect afterwards.
func TestHangUpEndsWhatWasSent(t *testing.T) {
	t.Parallel()
	r, s := proxytest.NewRegistry(t), pipelinetest.NewStore()
	image := proxytest.Images(t, s, 1, 1)[0]
	r.Push(t, "app", s, image, "1")
	c := &proxytest.Client{Base: r.Base, HTTP: &http.Client{Transport: &http.Transport{}}}
	defer c.HTTP.CloseIdleConnections()
	begun, hold := make(chan struct{}), make(chan struct{})
	r.Break(proxytest.First(1, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		close(begun)
		<-hold
		next.ServeHTTP(w, req)
	}))
	put := make(chan error, 1)
	tag := func(name string) error {
		_, err := c.Do(t.Context(), http.MethodPut, "/v2/app/manifests/"+name, s.Bytes(image.Digest), "Content-Type", image.MediaType)
		return err
	}
	go func() { put <- tag("2") }()
	<-begun
	over := make(chan struct{})
	go func() { defer close(over); r.HangUp(t) }()
	select {
	case <-over:
		t.Error("it does not wait for what is being done")
	case hold <- struct{}{}:
	}
	<-over
	if err := <-put; err != nil { // it was being done, and so it is answered
		t.Error(err)
	}
	if err := tag("3"); err == nil { // by the old connection; a PUT is not tried again by another one
		t.Error("an old connection is answered")
	}
	if tags, err := r.Tags(t.Context(), "app"); err != nil || len(tags) != 2 {
		t.Errorf("%v, %v", tags, err)
	}
	if err := tag("3"); err != nil {
		t.Errorf("a new connection: %v", err)
	}
}

func TestTokensExpire(t *testing.T) {
	t.Parallel()
	r := proxytest.NewRegistry(t)
	r.RequireToken()
	c := stranger(r)
	token := func() string {
		a, err := c.Do(t.Context(), http.MethodGet, "/token", nil)
		if err != nil {
			t.Fatal(err)
		}
		return string(a.Body)
	}
	first := token()
	if a, err := c.Do(t.Context(), http.MethodGet, "/v2/", nil, "Authorization", "Bearer token-1"); err != nil || a.Status != http.StatusOK {
		t.Errorf("with a token: status %d, %v", a.Status, err)
	}
	r.RequireToken()
	if a, err := c.Do(t.Context(), http.MethodGet, "/v2/", nil, "Authorization", "Bearer token-1"); err != nil || a.Status != http.StatusUnauthorized || token() == first {
		t.Errorf("with an old token: status %d, %v", a.Status, err)
	}
}

func TestImagesAreTheSameForOneSeed(t *testing.T) {
	t.Parallel()
	list := func(seed uint64) (out [6]ocispec.Descriptor) {
		copy(out[:], proxytest.Images(t, pipelinetest.NewStore(), seed, 6))
		return out
	}
	a, b, c := list(1), list(1), list(2)
	for i := range a {
		if a[i].Digest != b[i].Digest || a[i].Digest == c[i].Digest {
			t.Errorf("image %d: %s, %s, of another seed %s", i, a[i].Digest, b[i].Digest, c[i].Digest)
		}
	}
}
