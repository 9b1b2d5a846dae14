package registry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// serveInbox serves an Inbox over HTTP, until the test ends.
func serveInbox(t *testing.T, o registry.InboxOptions) (*registry.Inbox, name.Repository) {
	t.Helper()
	if o.TempDir == "" {
		o.TempDir = t.TempDir()
	}
	box := registry.NewInbox(o)
	srv := httptest.NewServer(registry.New(box.Backend(), registry.Options{}))
	t.Cleanup(func() {
		srv.Close()
		if err := box.Close(); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(o.TempDir); err != nil || len(left) > 0 {
			t.Errorf("left in the temporary directory: %v, %v", left, err)
		}
	})
	repo, err := name.NewRepository(strings.TrimPrefix(srv.URL, "http://") + "/team/app")
	if err != nil {
		t.Fatal(err)
	}
	return box, repo
}

func randomImage(t *testing.T) v1.Image {
	t.Helper()
	image, err := random.Image(2048, 3)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func digestOf(t *testing.T, i interface{ Digest() (v1.Hash, error) }) digest.Digest {
	t.Helper()
	h, err := i.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.Digest(h.String())
}

// namesOf is the tag with a host before it.
func namesOf(tag string) []string { return []string{"registry.example/app:" + tag} }

// opened reads layers to their end and counts them by role; it returns the
// digests of their bytes.
func opened(t *testing.T, g pipeline.Graph) (roles map[pipeline.Role]int, blobs map[digest.Digest]bool) {
	t.Helper()
	roles, blobs = map[pipeline.Role]int{}, map[digest.Digest]bool{}
	for l, err := range g.Layers(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		rc, err := l.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		d, err := digest.FromReader(rc)
		if err != nil || d != l.Blob.Digest {
			t.Errorf("layer %s has the bytes of %s: %v", l.Blob.Digest, d, err)
		}
		_ = rc.Close()
		roles[l.Role]++
		blobs[d] = true
	}
	return roles, blobs
}

// roots are what the names of a graph point at.
func rootsOf(t *testing.T, g pipeline.Graph) map[digest.Digest][]string {
	t.Helper()
	roots := map[digest.Digest][]string{}
	for m, err := range g.Manifests(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if m.Root {
			roots[m.Desc.Digest] = m.Names
		}
	}
	return roots
}

func TestPushBecomesAnImage(t *testing.T) {
	t.Parallel()
	box, repo := serveInbox(t, registry.InboxOptions{})
	image := randomImage(t)
	done := make(chan error, 1)
	go func() {
		err := remote.Write(repo.Tag("1"), image)
		box.End(err)
		done <- err
	}()
	g := box.Graph(pipeline.Query{}, pipeline.ResolveOptions{}, namesOf)
	defer g.Close()
	roles, blobs := opened(t, g)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if roles[pipeline.Unknown] != 3 || len(blobs) != 3 {
		t.Errorf("layers came as %v; want 3 before their manifest", roles)
	}
	if got := rootsOf(t, g); len(got) != 1 || fmt.Sprint(got[digestOf(t, image)]) != "[registry.example/app:1]" {
		t.Errorf("roots are %v", got)
	}
	if size := box.Size(); size < 3*2048 {
		t.Errorf("its files have held %d bytes", size)
	}
}

// A query that chooses platforms gets no layer before it is known whose it is;
// and a push may come before anybody wants the graph.
func TestPushedIndexIsChosenFrom(t *testing.T) {
	t.Parallel()
	box, repo := serveInbox(t, registry.InboxOptions{})
	var index v1.ImageIndex = empty.Index
	var want digest.Digest
	for _, arch := range []string{"amd64", "arm64"} {
		image := randomImage(t)
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		config.OS, config.Architecture = "linux", arch
		if image, err = mutate.ConfigFile(image, config); err != nil {
			t.Fatal(err)
		}
		want = digestOf(t, image)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	if err := remote.WriteIndex(repo.Tag("1"), index); err != nil {
		t.Fatal(err)
	}
	box.End(nil)
	q := pipeline.Query{Platforms: pipeline.Platforms{Want: []ocispec.Platform{{OS: "linux", Architecture: "arm64"}}}}
	g := box.Graph(q, pipeline.ResolveOptions{}, namesOf)
	defer g.Close()
	if roles, blobs := opened(t, g); roles[pipeline.FileSystem] != 3 || len(blobs) != 3 {
		t.Errorf("layers came as %v; want the 3 of one image", roles)
	}
	if got := rootsOf(t, g); len(got) != 1 || got[want] == nil {
		t.Errorf("roots are %v, want %s", got, want)
	}
}

func TestHeldBlobsAreNotSentAndReadElsewhere(t *testing.T) {
	t.Parallel()
	image := randomImage(t)
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	held := digestOf(t, layers[0])
	box, repo := serveInbox(t, registry.InboxOptions{
		Held: func(_ context.Context, d digest.Digest) (int64, bool) { return 7, d == held },
		Open: func(_ context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
			if desc.Digest != held {
				t.Errorf("%s was to be opened", desc.Digest)
			}
			return layers[0].Compressed()
		},
	})
	if err := remote.Write(repo.Tag("1"), image); err != nil {
		t.Fatal(err)
	}
	box.End(nil)
	if _, err := box.Blob(t.Context(), held, 1<<20); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("the held layer was sent: %v", err)
	}
	g := box.Graph(pipeline.Query{}, pipeline.ResolveOptions{}, namesOf)
	defer g.Close()
	if _, blobs := opened(t, g); len(blobs) != 3 || !blobs[held] {
		t.Errorf("layers are %v", blobs)
	}
}

// What Received says is the client's answer; the graph has the manifest.
func TestRefusedManifestIsStillTheImage(t *testing.T) {
	t.Parallel()
	box, repo := serveInbox(t, registry.InboxOptions{Received: func(context.Context, registry.Manifest, []string) error {
		return &registry.Error{Code: registry.Denied, Message: "enough"}
	}})
	image := randomImage(t)
	if err := remote.Write(repo.Tag("1"), image); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("the client was told %v", err)
	}
	if all := box.Manifests(); len(all) != 1 || all[0].Desc.Digest != digestOf(t, image) {
		t.Errorf("manifests are %v", all)
	}
}

func TestBytesOfAnotherDigestAreNoBlob(t *testing.T) {
	t.Parallel()
	box := registry.NewInbox(registry.InboxOptions{TempDir: t.TempDir()})
	defer box.Close()
	w := world{t, registry.New(box.Backend(), registry.Options{})}
	at := w.begin()
	d := digest.FromString("what was promised")
	w.ask(http.MethodPut, with(at, "digest="+d.String()), "what came").want(http.StatusBadRequest, registry.DigestInvalid)
	w.wantBlob(d, "")
	if _, err := box.Blob(t.Context(), d, 100); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("it is there: %v", err)
	}
}

func TestBrokenPushIsTheGraphsError(t *testing.T) {
	t.Parallel()
	box := registry.NewInbox(registry.InboxOptions{TempDir: t.TempDir() + "/none"})
	defer box.Close()
	g := box.Graph(pipeline.Query{}, pipeline.ResolveOptions{}, namesOf)
	defer g.Close()
	broken := errors.New("the daemon went away")
	box.End(broken)
	for _, err := range g.Layers(t.Context()) {
		if !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	}
}
