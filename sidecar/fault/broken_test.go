//go:build unix

package fault

import (
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/occystrap/occystrap/sidecar/proxy"
	"github.com/occystrap/occystrap/sidecar/proxy/proxytest"
)

// cut stands for an answer that ended early, in a list of statuses.
const cut = 0

// stall is how long a registry may move no byte in the tests where it does not.
const stall = 100 * time.Millisecond

// A fault of a registry, and what clients of the proxy may see of it.
type fault struct {
	name    string
	does    proxytest.Fault
	stalls  bool
	sees    []int // statuses of a manifest
	onBlobs []int // of a blob; nil is the same
}

var faults = []fault{
	{"401", proxytest.Status(401), false, []int{403}, nil},
	{"403", proxytest.Status(403), false, []int{403}, nil},
	{"404", proxytest.Status(404), false, []int{404}, nil},
	{"429", proxytest.Status(429, "Retry-After", "1"), false, []int{429}, nil},
	{"500", proxytest.Status(500), false, []int{502}, nil},
	{"502", proxytest.Status(502), false, []int{502}, nil},
	{"cut at once", proxytest.Cut(0), false, []int{502}, []int{502, cut}},
	{"cut in the middle", proxytest.Cut(50), false, []int{502}, []int{502, cut}},
	{"stalls at once", proxytest.Stall(0), true, []int{502}, []int{502, cut}},
	{"stalls in the middle", proxytest.Stall(50), true, []int{502}, []int{502, cut}},
	{"lies about the length", proxytest.Short, false, []int{502}, []int{502, cut}},
	{"sends more", proxytest.Long, false, []int{502}, []int{502, cut}},
	{"sends other bytes", proxytest.Other, false, []int{502}, []int{502, cut}},
}

// Whatever an upstream does, a client of the proxy gets the right bytes or an error,
// nothing wrong is kept, and with a healed upstream the next attempt works.
func TestBrokenUpstream(t *testing.T) {
	t.Parallel()
	for _, f := range append(faults, fault{"lies about the digest", proxytest.WrongDigest, false, []int{502}, nil}) {
		for part, sees := range map[string][]int{"manifests": f.sees, "blobs": f.onBlobs} {
			if sees == nil {
				sees = f.sees
			}
			t.Run(f.name+" "+part, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, func(c *proxy.Config, other string) {
					mirrors(c, other)
					if f.stalls {
						c.Stall = stall
					}
				})
				w.other.Push(t, "team/app", w.store, w.image, "1")
				w.other.Break(proxytest.Of(http.MethodGet, part, f.does))
				for range 2 { // what was not kept is not served the second time either
					_, err := w.pull(t.Context())
					if part == "blobs" && f.name == "lies about the digest" {
						must(t, err) // the header says nothing of a blob that its bytes do not
						return
					}
					if err == nil || errors.Is(err, proxytest.ErrBytes) || !slices.Contains(sees, status(err)) {
						t.Errorf("the client sees %v; want a status of %v", err, sees)
					}
				}
				w.other.Break(nil)
				w.heals(t)
			})
		}
	}
}

// heals pulls until it works, as a client that tries again does: an upstream may have
// asked for a moment of rest.
func (w *world) heals(t *testing.T) {
	t.Helper()
	eventually(t, "the healed upstream is asked again", func() bool {
		got, err := w.pull(t.Context())
		if errors.Is(err, proxytest.ErrBytes) || err == nil && got != w.image.Digest {
			t.Fatalf("%s, %v", got, err)
		}
		return err == nil
	})
}

// A token that runs out in the middle of a blob is renewed, and the blob goes on.
func TestTokenExpiresInTheMiddleOfABlob(t *testing.T) {
	t.Parallel()
	w := newWorld(t, mirrors)
	w.other.Push(t, "team/app", w.store, w.image, "1")
	w.other.RequireToken()
	expires := 0
	w.other.Break(proxytest.Of(http.MethodGet, "blobs", proxytest.First(1, func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		expires++
		defer w.other.RequireToken()
		proxytest.Cut(10)(rw, r, next)
	})))
	got, err := w.pull(t.Context())
	if err != nil || got != w.image.Digest {
		t.Errorf("%s, %v", got, err)
	}
}

// on is a kind of request.
type on struct{ method, part string }

// Whatever a downstream does, a push is acknowledged when the image is there, whole,
// and not else.
func TestBrokenDownstream(t *testing.T) {
	t.Parallel()
	post, patch, end, put := on{http.MethodPost, "blobs"}, on{http.MethodPatch, "blobs"}, on{http.MethodPut, "blobs"}, on{http.MethodPut, "manifests"}
	head := on{http.MethodHead, "blobs"}
	for _, c := range []struct {
		name string
		does proxytest.Fault
		at   []on
	}{
		{"401", proxytest.Status(401), []on{head, put}},
		{"403", proxytest.Status(403), []on{post, put}},
		{"404", proxytest.Status(404), []on{post, put}},
		{"429", proxytest.Status(429, "Retry-After", "1"), []on{put}},
		{"500", proxytest.Status(500), []on{head, post, end, put}},
		{"502", proxytest.Status(502), []on{patch, put}},
		{"cut", proxytest.Cut(0), []on{head, post, patch, end, put}},
		{"stalls", proxytest.Stall(0), []on{patch, put}},
		{"lies about the digest", proxytest.WrongDigest, []on{put}},
	} {
		for _, at := range c.at {
			t.Run(c.name+" to "+at.method+" "+at.part, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, func(cfg *proxy.Config, other string) {
					sendsOn(cfg, other)
					if c.name == "stalls" {
						cfg.Stall = stall
					}
				})
				w.other.Break(proxytest.Of(at.method, at.part, c.does))
				stored, err := w.push(t.Context())
				there, missing := w.other.Pull(t.Context(), "kept/team/app", "1", "")
				if err == nil && (missing != nil || there != stored) {
					t.Errorf("%s was acknowledged, and downstream has %s, %v", stored, there, missing)
				}
				if missing != nil && status(missing) != http.StatusNotFound {
					t.Errorf("downstream has half of it: %v", missing)
				}
				if errors.Is(err, proxytest.ErrBytes) || err != nil && status(err) < 400 {
					t.Errorf("the client sees %v", err)
				}
				w.other.Break(nil)
				eventually(t, "the healed downstream gets it", func() bool {
					stored, err = w.push(t.Context())
					return err == nil
				})
				if got, err := w.other.Pull(t.Context(), "kept/team/app", "1", ""); err != nil || got != stored {
					t.Errorf("downstream has %s, %v; want %s", got, err, stored)
				}
			})
		}
	}
}
