package push_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/keep"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
	"github.com/occystrap/occystrap/sidecar/store"
)

// startStored makes a world that keeps and stages in a store, as the proxy does.
func startStored(t *testing.T, filters ...string) *world {
	t.Helper()
	s, err := store.Open(t.Context(), t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Verify(context.WithoutCancel(t.Context()), func(f store.Fault) { t.Errorf("%s: %s", f.Kind, f.Text) }); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return start(t, nil, func(w *world) {
		staging := s.Space("staging", store.SpaceOptions{Volatile: true, Sparse: true})
		w.cfg.Staging, w.cfg.Notes = staging.Backend(), staging
		w.cfg.Keeper = keep.Store(s.Space("push", store.SpaceOptions{}))
		w.cfg.Rules = newRules(t, rules.Spec{Filters: filters, Attestations: "none"})
	})
}

// An image of an index that is kept is not deleted before it, by whatever digest a
// client knows it; then all can be, in the order in which registries are cleared.
func TestListedImageIsNotDeletedBeforeItsIndex(t *testing.T) {
	t.Parallel()
	for name, filters := range map[string][]string{"as it is": nil, "changed": {normalize}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, s := startStored(t, filters...), pipelinetest.NewStore()
			img := image(t, s, "a")
			index := s.Index(t, img)
			a, _ := w.pushImage("team/app", "1", s, index)
			kept := w.must(a, index.Digest)
			entry := read[ocispec.Index](t, []byte(w.ask("GET", "/v2/team/app/manifests/1", nil).body)).Manifests[0]
			for _, d := range []digest.Digest{img.Digest, entry.Digest} {
				a := w.ask("DELETE", "/v2/team/app/manifests/"+d.String(), nil)
				if code, message := a.code(); a.status != http.StatusForbidden || code != registry.Denied || !strings.Contains(message, "index "+kept.String()) {
					t.Errorf("DELETE of an image in an index: %d %s", a.status, a.body)
				}
			}
			if a := w.ask("GET", "/v2/team/app/manifests/"+entry.Digest.String(), nil); a.status != http.StatusOK {
				t.Errorf("what was refused is gone: %d %s", a.status, a.body)
			}
			// By the digest that is kept, so that staging still has the index that came.
			for _, d := range []digest.Digest{kept, img.Digest} {
				if a := w.ask("DELETE", "/v2/team/app/manifests/"+d.String(), nil); a.status != http.StatusAccepted {
					t.Errorf("DELETE: %d %s", a.status, a.body)
				}
				if a := w.ask("HEAD", "/v2/team/app/manifests/"+d.String(), nil); a.status != http.StatusNotFound {
					t.Errorf("it is still there: %d", a.status)
				}
			}
		})
	}
}

// What is kept downstream is deleted there, by who may: nothing goes here either.
func TestNothingIsDeletedDownstream(t *testing.T) {
	t.Parallel()
	w, d := startFar(t)
	s := pipelinetest.NewStore()
	img := image(t, s, "a")
	a, _ := w.pushImage("team/app", "1", s, img)
	w.must(a, img.Digest)
	layer := read[ocispec.Manifest](t, s.Bytes(img.Digest)).Layers[0].Digest
	for _, what := range []string{"manifests/1", "manifests/" + img.Digest.String(), "blobs/" + layer.String()} {
		a := w.ask("DELETE", "/v2/team/app/"+what, nil)
		if code, message := a.code(); a.status != http.StatusMethodNotAllowed || code != registry.Unsupported || !strings.Contains(message, "registry downstream") {
			t.Errorf("DELETE %s: %d %s", what, a.status, a.body)
		}
		if a := w.ask("HEAD", "/v2/team/app/"+what, nil); a.status != http.StatusOK {
			t.Errorf("%s is gone: %d", what, a.status)
		}
	}
	far := registry.NewSource(d.reg.Backend(), "org/team/app", registry.Ref{Tag: "1"}, nil)
	if err := pipeline.Verify(t.Context(), far, pipeline.Report{}, pipeline.Options{}); err != nil {
		t.Errorf("downstream: %v", err)
	}
	if raw := w.ask("GET", "/v2/team/app/manifests/1", nil).body; !bytes.Equal([]byte(raw), s.Bytes(img.Digest)) {
		t.Error("the tag has another image")
	}
}
