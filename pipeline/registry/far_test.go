package registry_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	ggcr "github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
)

// A near is a server under test, with a record of what it was asked.
type near struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string
}

func serve(t *testing.T) *near {
	t.Helper()
	h := memory(t)
	n := &near{}
	n.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.mu.Lock()
		n.seen = append(n.seen, r.Method+" "+r.URL.Path)
		n.mu.Unlock()
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(n.Close)
	return n
}

func (n *near) host() string { return n.Listener.Addr().String() }

// asked counts the requests that begin so.
func (n *near) asked(prefix string) (count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.seen {
		if strings.HasPrefix(s, prefix) {
			count++
		}
	}
	return count
}

func (n *near) ref(t *testing.T, s string) name.Reference {
	t.Helper()
	ref, err := name.ParseReference(n.host()+"/"+s, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// far has a client with connections of its own, that end with the test.
func far(t *testing.T) ggcr.Option {
	t.Helper()
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return ggcr.WithTransport(tr)
}

func TestOurClientPushesAndPulls(t *testing.T) {
	t.Parallel()
	cfg := remote.Config{Backoff: time.Millisecond, Stall: 30 * time.Second}
	pipelinetest.TestEnd(t, pipelinetest.End{Sink: func(t *testing.T) (pipeline.Sink, func() (pipeline.Source, error)) {
		uri := "registry://" + serve(t).host() + "/team/app:1"
		schemes := pipeline.Schemes{remote.Scheme(cfg)}
		return must[pipeline.Sink](t)(schemes.Sink(uri)), func() (pipeline.Source, error) { return schemes.Source(uri) }
	}})
}

func TestGoContainerregistryPushesAndPulls(t *testing.T) {
	t.Parallel()
	n, client := serve(t), far(t)
	index := must[v1.ImageIndex](t)(random.Index(100_000, 3, 2))
	check(t, ggcr.WriteIndex(n.ref(t, "team/app:index"), index, client))
	check(t, validate.Index(must[v1.ImageIndex](t)(ggcr.Index(n.ref(t, "team/app:index"), client))))

	img := must[v1.Image](t)(random.Image(3_000_000, 2))
	check(t, ggcr.Write(n.ref(t, "team/app:image"), img, client))
	back := must[v1.Image](t)(ggcr.Image(n.ref(t, "team/app:image"), client))
	check(t, validate.Image(back))

	tags := must[[]string](t)(ggcr.List(n.ref(t, "team/app:x").Context(), client, ggcr.WithPageSize(1)))
	if !slices.Equal(tags, []string{"image", "index"}) {
		t.Errorf("tags %q", tags)
	}
	check(t, ggcr.Delete(n.ref(t, "team/app:index"), client))
	_, err := ggcr.Head(n.ref(t, "team/app:index"), client)
	var failed *transport.Error
	if !errors.As(err, &failed) || failed.StatusCode != http.StatusNotFound {
		t.Errorf("after Delete: %v", err)
	}
	_, err = ggcr.Index(n.ref(t, "team/app:index"), client)
	if !errors.As(err, &failed) || len(failed.Errors) != 1 || failed.Errors[0].Code != transport.ManifestUnknownErrorCode {
		t.Errorf("after Delete: %v", err)
	}
}

func TestGoContainerregistryMounts(t *testing.T) {
	t.Parallel()
	n, client := serve(t), far(t)
	img := must[v1.Image](t)(random.Image(100_000, 3))
	check(t, ggcr.Write(n.ref(t, "team/app:1"), img, client))
	back := must[v1.Image](t)(ggcr.Image(n.ref(t, "team/app:1"), client))
	check(t, ggcr.Write(n.ref(t, "other:1"), back, client))
	if sent := n.asked("PATCH /v2/other/"); sent > 1 { // the config is never mounted
		t.Errorf("%d blobs were sent again", sent)
	}
	check(t, validate.Image(must[v1.Image](t)(ggcr.Image(n.ref(t, "other:1"), client))))
}

func TestGoContainerregistryFindsReferrers(t *testing.T) {
	t.Parallel()
	n, client := serve(t), far(t)
	img := must[v1.Image](t)(random.Image(1000, 1))
	check(t, ggcr.Write(n.ref(t, "team/app:1"), img, client))
	desc := must[*v1.Descriptor](t)(ggcr.Head(n.ref(t, "team/app:1"), client))
	about, ok := mutate.Subject(must[v1.Image](t)(random.Image(1000, 1)), *desc).(v1.Image)
	if !ok {
		t.Fatal("no image")
	}
	check(t, ggcr.Write(n.ref(t, "team/app:about"), about, client))
	index := must[v1.ImageIndex](t)(ggcr.Referrers(n.ref(t, "team/app:1").Context().Digest(desc.Digest.String()), client))
	list := must[*v1.IndexManifest](t)(index.IndexManifest())
	if want := must[v1.Hash](t)(about.Digest()); len(list.Manifests) != 1 || list.Manifests[0].Digest != want {
		t.Errorf("referrers %v, want %s", list.Manifests, want)
	}
	if n.asked("PUT /v2/team/app/manifests/sha256-") > 0 {
		t.Error("it put a tag of the fallback too")
	}
}
