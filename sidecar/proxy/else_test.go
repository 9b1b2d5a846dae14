package proxy_test

import (
	"encoding/json"
	"net/http"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/sidecar/proxy"
	"github.com/occystrap/occystrap/sidecar/proxy/proxytest"
)

// A client that pushes asks first what is there: containerd's takes every answer but
// 200 and 404 for the end. What ails the default upstream, which nothing is pushed to, is
// told to who reads.
func TestAPushDoesNotNeedTheDefaultUpstream(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]struct {
		status int
		answer int // to who reads
	}{
		"what is not there is not allowed": {http.StatusUnauthorized, http.StatusForbidden},
		"not allowed":                      {http.StatusForbidden, http.StatusForbidden},
		"too many requests":                {http.StatusTooManyRequests, http.StatusTooManyRequests},
		"out of order":                     {http.StatusBadGateway, http.StatusBadGateway},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			upstream := proxytest.NewRegistry(t)
			upstream.Break(proxytest.Status(fault.status, "Retry-After", "3600"))
			s := pipelinetest.NewStore()
			root := proxytest.Images(t, s, 1, 3)[2]
			b := besiege(t, proxy.Config{Upstreams: []proxy.Upstream{mirror("docker.io", upstream)}, Upstream: "docker.io", Retries: -1})
			for _, ref := range []string{"1", root.Digest.String()} {
				b.gets(t, http.StatusNotFound, "", http.MethodHead, "/v2/app/manifests/"+ref)
				b.gets(t, fault.answer, "", http.MethodGet, "/v2/app/manifests/"+ref)
			}
			if _, err := b.Push(t.Context(), "app", s, root, "1"); err != nil {
				t.Fatal(err)
			}
			a := b.gets(t, http.StatusOK, "", http.MethodGet, "/v2/app/referrers/"+root.Digest.String())
			var list ocispec.Index
			if err := json.Unmarshal(a.Body, &list); err != nil || len(list.Manifests) != 0 {
				t.Errorf("the referrers of an image that was pushed are %s, %v", a.Body, err)
			}
			b.gets(t, fault.answer, "", http.MethodGet, "/v2/other/referrers/"+root.Digest.String())
		})
	}
}

// What a client was told is there need not be pushed: an index may list an image of the
// default upstream, and is whole here then.
func TestAnIndexMayListWhatTheDefaultUpstreamHas(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	root := proxytest.Images(t, s, 1, 3)[2]
	for name, c := range map[string]proxy.Config{"store": {}, "downstream": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			upstream := proxytest.NewRegistry(t)
			upstream.Push(t, "library/app", s, root, "1")
			c.Upstreams, c.Upstream, c.Retries = []proxy.Upstream{mirror("docker.io", upstream)}, "docker.io", -1
			if name == "downstream" {
				c.Downstream = proxy.Remote{Host: proxytest.NewRegistry(t).Host, Insecure: true}
			}
			b := besiege(t, c)
			var index ocispec.Index
			if err := json.Unmarshal(s.Bytes(root.Digest), &index); err != nil {
				t.Fatal(err)
			}
			for _, d := range index.Manifests {
				b.gets(t, http.StatusOK, "", http.MethodHead, "/v2/app/manifests/"+d.Digest.String())
			}
			a, err := b.Do(t.Context(), http.MethodPut, "/v2/app/manifests/mine", s.Bytes(root.Digest), "Content-Type", root.MediaType)
			if err != nil || a.Status != http.StatusCreated {
				t.Fatalf("the index is answered with %d %s, %v", a.Status, a.Body, err)
			}
			upstream.Break(proxytest.Status(http.StatusBadGateway))
			if got, err := b.Pull(t.Context(), "app", "mine", ""); err != nil || got != root.Digest {
				t.Errorf("it is pulled as %s, %v", got, err)
			}
		})
	}
}
