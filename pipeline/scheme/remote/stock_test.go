package remote_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
)

// pagedRegistry has one repository, app, whose tags come one on a page.
func pagedRegistry(t *testing.T, store *pipelinetest.Store, tags []string, images map[string]ocispec.Descriptor) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, what, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/app/"), "/")
		switch {
		case r.URL.Path == "/v2/":
		case r.URL.Path == "/v2/app/tags/list":
			at := 0
			for i, tag := range tags {
				if tag == r.URL.Query().Get("last") {
					at = i + 1
				}
			}
			if at+1 < len(tags) {
				w.Header().Set("Link", `</v2/app/tags/list?last=`+tags[at]+`>; rel="next"`)
			}
			fmt.Fprintf(w, `{"name":"app","tags":[%q]}`, tags[at])
		case name == "manifests":
			desc, ok := images[what]
			if !ok {
				desc = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.Digest(what)}
			}
			raw := store.Bytes(desc.Digest)
			if raw == nil {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Content-Type", desc.MediaType)
			_, _ = w.Write(raw)
		case name == "blobs" && store.Bytes(digest.Digest(what)) != nil:
			_, _ = w.Write(store.Bytes(digest.Digest(what)))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

func TestInventoryIsOfAllTagsOfARepository(t *testing.T) {
	t.Parallel()
	store := pipelinetest.NewStore()
	image := func(layers ...string) ocispec.Descriptor {
		var tars [][]byte
		for _, l := range layers {
			tars = append(tars, pipelinetest.Tar(t, pipelinetest.File{Name: l, Body: l}))
		}
		return store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: tars})
	}
	one, two := image("base", "one"), image("base", "two")
	host := pagedRegistry(t, store, []string{"1", "2", "latest", "gone"}, map[string]ocispec.Descriptor{"1": one, "2": store.Index(t, two), "latest": one})
	list := func(repository string) (found map[digest.Digest]digest.Digest, err error) {
		place, err := pipeline.Schemes{remote.Scheme(remote.Config{})}.Inventor("registry://" + host + "/" + repository)
		if err != nil {
			t.Fatal(err)
		}
		found = map[digest.Digest]digest.Digest{}
		for h, err := range place.Holdings(t.Context(), pipeline.Limits{}) {
			if err != nil {
				return nil, err
			}
			found[h.DiffID] = h.Blob.Digest
		}
		return found, nil
	}
	found, err := list("app")
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 3 {
		t.Errorf("it has %v, and should have three layers", found)
	}
	for _, l := range []string{"base", "one", "two"} {
		tar := pipelinetest.Tar(t, pipelinetest.File{Name: l, Body: l})
		if found[digest.FromBytes(tar)] != digest.FromBytes(pipelinetest.Compress(t, pipeline.Gzip, tar)) {
			t.Errorf("layer %s is not among %v", l, found)
		}
	}
	if _, err := list("nowhere"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("of a repository that is not there the error is %v", err)
	}
}
