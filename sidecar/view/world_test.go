package view_test

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"

	"github.com/occystrap/occystrap/sidecar/lanes"
	"github.com/occystrap/occystrap/sidecar/view"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// An engine is a containerd's root, whose database is open and locked, as a
// containerd that runs holds it.
type engine struct {
	t    testing.TB
	root string
	db   *bbolt.DB
}

func newEngine(t testing.TB) engine {
	t.Helper()
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "io.containerd.metadata.v1.bolt"), 0o755))
	must(t, os.MkdirAll(filepath.Join(root, "io.containerd.content.v1.content", "blobs", "sha256"), 0o755))
	db, err := bbolt.Open(filepath.Join(root, "io.containerd.metadata.v1.bolt", "meta.db"), 0o644, &bbolt.Options{NoFreelistSync: true, NoSync: true})
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	return engine{t, root, db}
}

// file is where a blob lies.
func (e engine) file(d digest.Digest) string {
	return filepath.Join(e.root, "io.containerd.content.v1.content", "blobs", "sha256", d.Encoded())
}

// note makes a path of buckets, and sets values in the last.
func (e engine) note(values map[string]string, path ...string) {
	e.t.Helper()
	must(e.t, e.db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(path[0]))
		for _, p := range path[1:] {
			if err == nil {
				b, err = b.CreateBucketIfNotExists([]byte(p))
			}
		}
		for k, v := range values {
			if err == nil {
				err = b.Put([]byte(k), []byte(v))
			}
		}
		return err
	}))
}

// blob puts a blob into a namespace.
func (e engine) blob(namespace, mediaType string, raw []byte) ocispec.Descriptor {
	e.t.Helper()
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	if _, err := os.Stat(e.file(d.Digest)); err != nil {
		must(e.t, os.WriteFile(e.file(d.Digest), raw, 0o444))
	}
	e.note(nil, "v1", namespace, "content", "blob", d.Digest.String())
	return d
}

func (e engine) document(namespace, mediaType string, v any) ocispec.Descriptor {
	e.t.Helper()
	raw, err := json.Marshal(v)
	must(e.t, err)
	return e.blob(namespace, mediaType, raw)
}

// name gives an image a name.
func (e engine) name(namespace, name string, d ocispec.Descriptor) {
	e.t.Helper()
	e.note(map[string]string{"digest": d.Digest.String(), "mediatype": d.MediaType}, "v1", namespace, "images", name, "target")
}

// An app is an image: an index of one platform, and of one that is not there.
type app struct{ index, manifest, absent, config, layer ocispec.Descriptor }

// build puts an image into a namespace.
func (e engine) build(namespace, name, content string) app {
	e.t.Helper()
	var a app
	a.layer = e.blob(namespace, ocispec.MediaTypeImageLayer, []byte("layer of "+content))
	a.config = e.blob(namespace, ocispec.MediaTypeImageConfig, []byte(`{"os":"linux","of":"`+content+`"}`))
	a.manifest = e.document(namespace, ocispec.MediaTypeImageManifest, ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: a.config, Layers: []ocispec.Descriptor{a.layer}})
	a.absent = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("no pull of " + content), Size: 10}
	a.index = e.document(namespace, ocispec.MediaTypeImageIndex, ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{a.manifest, a.absent}})
	e.name(namespace, name, a.index)
	return a
}

// serve is a view of engines, of these namespaces.
func serve(t testing.TB, namespaces []string, engines ...engine) *httptest.Server {
	t.Helper()
	var cfg lanes.Config
	for _, e := range engines {
		cfg.Containerd = append(cfg.Containerd, lanes.Containerd{Name: e.root, Root: e.root, Namespaces: namespaces})
	}
	var all []view.Library
	for _, l := range lanes.New(cfg).Libraries() {
		all = append(all, l)
	}
	s := httptest.NewServer(view.New(all, nil))
	t.Cleanup(s.Close)
	return s
}
