package lanes_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/plugin/control"
	"github.com/occystrap/occystrap/plugin/control/wire"
	"github.com/occystrap/occystrap/sidecar/lanes"
)

// All that an image reaches is lent, while containerd holds its database.
func TestBlobsOfAnImageAreLent(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	target, layer := f.build(t, "moby", "app:1", "app")
	c := lend(t, f, "moby")
	for _, d := range []ocispec.Descriptor{target, layer} {
		got, err := c.Blob(t.Context(), "moby", target.Digest, d.Digest)
		must(t, err)
		raw, err := io.ReadAll(got)
		must(t, errors.Join(err, got.Close()))
		if digest.FromBytes(raw) != d.Digest {
			t.Errorf("%s is %q", d.Digest, raw)
		}
	}
}

// What no image in an allowed namespace reaches is not lent, whatever the
// content store has.
func TestOnlyWhatAnImageReachesIsLent(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	target, layer := f.build(t, "moby", "app:1", "app")
	unnamed, unnamedLayer := f.build(t, "moby", "", "unnamed")
	secret, secretLayer := f.build(t, "k8s.io", "secret:1", "secret")
	// An index that lists a blob which only the other namespace has.
	thief := f.blob(t, "moby", []byte(`{"layers":[{"digest":"`+secretLayer.Digest.String()+`"}]}`))
	thief.MediaType = ocispec.MediaTypeImageManifest
	f.image(t, "moby", "thief:1", thief)
	c := lend(t, f, "moby", "mine")
	for name, tc := range map[string]struct {
		namespace   string
		image, blob digest.Digest
		want        error
	}{
		"a blob of another image":        {"moby", target.Digest, thief.Digest, pipeline.ErrNotFound},
		"an image without a name":        {"moby", unnamed.Digest, unnamedLayer.Digest, pipeline.ErrNotFound},
		"an image of another namespace":  {"moby", secret.Digest, secretLayer.Digest, pipeline.ErrNotFound},
		"another namespace":              {"k8s.io", secret.Digest, secretLayer.Digest, control.ErrRefused},
		"a namespace that is not there":  {"mine", target.Digest, layer.Digest, pipeline.ErrNotFound},
		"a blob that somebody else has":  {"moby", thief.Digest, secretLayer.Digest, pipeline.ErrNotFound},
		"a blob that nobody has":         {"moby", target.Digest, digest.FromString("none"), pipeline.ErrNotFound},
		"a layer in the place of a name": {"moby", layer.Digest, layer.Digest, pipeline.ErrNotFound},
	} {
		got, err := c.Blob(t.Context(), tc.namespace, tc.image, tc.blob)
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: error is %v, want %v", name, err, tc.want)
		}
		if got != nil {
			t.Errorf("%s was lent", name)
		}
	}
	// And yet the sidecar goes on.
	got, err := c.Blob(t.Context(), "moby", target.Digest, layer.Digest)
	must(t, err)
	must(t, got.Close())
}

// What comes into the store is seen at once, what leaves it too.
func TestTheDatabaseIsReadAsItIsNow(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := lend(t, f, "moby")
	for i := range 20 {
		target, layer := f.build(t, "moby", "app:"+strconv.Itoa(i), strconv.Itoa(i))
		got, err := c.Blob(t.Context(), "moby", target.Digest, layer.Digest)
		must(t, err)
		must(t, got.Close())
	}
	target, layer := f.build(t, "moby", "gone:1", "gone")
	f.note(t, func(ns *bbolt.Bucket) error { return ns.Bucket([]byte("images")).DeleteBucket([]byte("gone:1")) }, "moby")
	if _, err := c.Blob(t.Context(), "moby", target.Digest, layer.Digest); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("error is %v, want not found", err)
	}
}

// A database that changes all the time is read right, or not at all.
func TestADatabaseThatChangesIsReadWhole(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	target, layer := f.build(t, "moby", "app:1", "app")
	socket := serve(t, lanes.Config{Containerd: []lanes.Containerd{{Name: "c", Root: f.root, Namespaces: []string{"moby"}}}})
	stop := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			f.note(t, func(ns *bbolt.Bucket) error {
				b, err := deep(ns, "images", "churn:"+strconv.Itoa(i%50), "target")
				if err != nil {
					return err
				}
				if i%3 == 0 {
					return ns.Bucket([]byte("images")).DeleteBucket([]byte("churn:" + strconv.Itoa(i%50)))
				}
				return b.Put([]byte("digest"), bytes.Repeat([]byte("x"), i%3000))
			}, "moby")
		}
	})
	lent := 0
	for range 100 {
		c := control.New(socket) // a new connection looks anew
		got, err := c.Blob(t.Context(), "moby", target.Digest, layer.Digest)
		switch {
		case err == nil:
			lent++
			must(t, got.Close())
		case errors.Is(err, pipeline.ErrNotFound):
			t.Error("an image that was there all the time was not found")
		}
		must(t, c.Close())
	}
	close(stop)
	writing.Wait()
	if got, err := client(t, socket).Blob(t.Context(), "moby", target.Digest, layer.Digest); err != nil {
		t.Error(err)
	} else {
		must(t, got.Close())
	}
	t.Logf("%d of 100 were lent", lent)
}

// A damaged manifest, a damaged database, a link in place of a blob and a blob
// that others could write are errors that say so.
func TestDamageIsTold(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	target, layer := f.build(t, "moby", "app:1", "app")
	socket := serve(t, lanes.Config{Containerd: []lanes.Containerd{{Name: "c", Root: f.root, Namespaces: []string{"moby"}}}})
	ask := func(t *testing.T) *wire.Error {
		t.Helper()
		return talk(t, greeted(t, socket), wire.Request{Op: wire.OpBlob, Engine: "c", Namespace: "moby", Image: target.Digest, Blob: layer.Digest}).Error
	}
	path := filepath.Join(f.blobs(), layer.Digest.Encoded())
	must(t, os.Remove(path))
	wants(t, ask(t), wire.NotFound, "any more")
	must(t, os.Symlink("/etc/passwd", path))
	wants(t, ask(t), wire.Failed, path)
	must(t, os.Remove(path))
	must(t, os.Mkdir(path, 0o755))
	wants(t, ask(t), wire.Failed, "is no file")

	index := filepath.Join(f.blobs(), target.Digest.Encoded())
	must(t, os.Chmod(index, 0o644))
	must(t, os.WriteFile(index, []byte(`{"manifests":[]}`), 0o644))
	wants(t, ask(t), wire.Failed, "another digest")

	must(t, os.WriteFile(filepath.Join(f.root, "io.containerd.metadata.v1.bolt", "other"), bytes.Repeat([]byte("garbage "), 4096), 0o644))
	db := filepath.Join(f.root, "io.containerd.metadata.v1.bolt", "meta.db")
	must(t, os.Rename(filepath.Join(f.root, "io.containerd.metadata.v1.bolt", "other"), db))
	wants(t, ask(t), wire.Failed, "no bbolt database")
	must(t, os.Remove(db))
	wants(t, ask(t), wire.NotFound, f.root)
}

// What is torn in a copy costs one answer and not the sidecar.
func TestATornDatabaseIsAnError(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	for i := range 50 {
		f.build(t, "moby", "app:"+strconv.Itoa(i), strconv.Itoa(i))
	}
	target, layer := f.build(t, "moby", "app", "app")
	db := filepath.Join(f.root, "io.containerd.metadata.v1.bolt", "meta.db")
	whole, err := os.ReadFile(db)
	must(t, err)
	clear(whole[2*os.Getpagesize():]) // all but the two first pages
	other := newFake(t)
	path := filepath.Join(other.root, "io.containerd.metadata.v1.bolt", "meta.db")
	must(t, os.Remove(path))
	must(t, os.WriteFile(path, whole, 0o644))
	if _, err := lend(t, other, "moby").Blob(t.Context(), "moby", target.Digest, layer.Digest); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("error is %v; want that it is damaged", err)
	}
}
