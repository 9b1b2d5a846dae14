package lanes_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/plugin/control"
	"github.com/occystrap/occystrap/plugin/control/wire"
	"github.com/occystrap/occystrap/sidecar/lanes"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A fake is a containerd's root: its database is open and locked, as containerd
// holds it.
type fake struct {
	root string
	db   *bbolt.DB
}

func newFake(t testing.TB) *fake {
	t.Helper()
	f := &fake{root: t.TempDir()}
	must(t, os.MkdirAll(filepath.Join(f.root, "io.containerd.metadata.v1.bolt"), 0o755))
	must(t, os.MkdirAll(f.blobs(), 0o755))
	var err error
	f.db, err = bbolt.Open(filepath.Join(f.root, "io.containerd.metadata.v1.bolt", "meta.db"), 0o644, &bbolt.Options{NoFreelistSync: true, NoSync: true})
	must(t, err)
	t.Cleanup(func() { must(t, f.db.Close()) })
	return f
}

func (f *fake) blobs() string {
	return filepath.Join(f.root, "io.containerd.content.v1.content", "blobs", "sha256")
}

// file puts a blob into the content store, and into no namespace.
func (f *fake) file(t testing.TB, raw []byte) ocispec.Descriptor {
	t.Helper()
	d := digest.FromBytes(raw)
	must(t, os.WriteFile(filepath.Join(f.blobs(), d.Encoded()), raw, 0o444))
	return ocispec.Descriptor{MediaType: "application/octet-stream", Digest: d, Size: int64(len(raw))}
}

// blob puts a blob into a namespace.
func (f *fake) blob(t testing.TB, namespace string, raw []byte) ocispec.Descriptor {
	t.Helper()
	d := f.file(t, raw)
	f.note(t, func(ns *bbolt.Bucket) error {
		_, err := deep(ns, "content", "blob", d.Digest.String())
		return err
	}, namespace)
	return d
}

// image gives a blob a name.
func (f *fake) image(t testing.TB, namespace, name string, target ocispec.Descriptor) {
	t.Helper()
	f.note(t, func(ns *bbolt.Bucket) error {
		b, err := deep(ns, "images", name, "target")
		if err != nil {
			return err
		}
		if err := b.Put([]byte("digest"), []byte(target.Digest)); err != nil {
			return err
		}
		return b.Put([]byte("mediatype"), []byte(target.MediaType))
	}, namespace)
}

func (f *fake) note(t testing.TB, do func(*bbolt.Bucket) error, namespace string) {
	t.Helper()
	must(t, f.db.Update(func(tx *bbolt.Tx) error {
		v1, err := tx.CreateBucketIfNotExists([]byte("v1"))
		if err != nil {
			return err
		}
		ns, err := v1.CreateBucketIfNotExists([]byte(namespace))
		if err != nil {
			return err
		}
		return do(ns)
	}))
}

func deep(b *bbolt.Bucket, path ...string) (*bbolt.Bucket, error) {
	var err error
	for _, p := range path {
		if b, err = b.CreateBucketIfNotExists([]byte(p)); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// build puts an image of one layer into a namespace, with a name unless that is
// "".
func (f *fake) build(t testing.TB, namespace, name, content string) (target, layer ocispec.Descriptor) {
	t.Helper()
	layer = f.blob(t, namespace, []byte("layer of "+content))
	config := f.blob(t, namespace, []byte(`{"os":"linux","of":"`+content+`"}`))
	m, err := json.Marshal(ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: []ocispec.Descriptor{layer}})
	must(t, err)
	manifest := f.blob(t, namespace, m)
	manifest.MediaType = ocispec.MediaTypeImageManifest
	i, err := json.Marshal(ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{manifest}})
	must(t, err)
	target = f.blob(t, namespace, i)
	target.MediaType = ocispec.MediaTypeImageIndex
	if name != "" {
		f.image(t, namespace, name, target)
	}
	return target, layer
}

// readers is a graph driver in memory: layers by diff ID.
type readers struct {
	image  digest.Digest
	config []byte
	layers map[digest.Digest]func() io.ReadCloser
}

func (r readers) Image(_ context.Context, image digest.Digest) (wire.Image, error) {
	if image != r.image {
		return wire.Image{}, pipeline.ErrNotFound
	}
	i := wire.Image{Config: r.config}
	for d := range r.layers {
		i.Layers = append(i.Layers, wire.Layer{DiffID: d, Size: 7})
	}
	return i, nil
}

func (r readers) Layer(_ context.Context, image, diffID digest.Digest) (io.ReadCloser, error) {
	open := r.layers[diffID]
	if image != r.image || open == nil {
		return nil, pipeline.ErrNotFound
	}
	return open(), nil
}

func fixed(raw []byte) func() io.ReadCloser {
	return func() io.ReadCloser { return io.NopCloser(bytes.NewReader(raw)) }
}

// graphRoot is what the fake Docker says of itself.
const graphRoot = "/fake/docker"

// serve starts a server on a socket that everybody may connect to, and returns
// its path.
func serve(t testing.TB, cfg lanes.Config) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lanes") //nolint:usetesting // short, and others get there
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	must(t, os.Chmod(dir, 0o755))
	socket := filepath.Join(dir, "s")
	l, err := net.Listen(wire.Network, socket)
	must(t, err)
	must(t, os.Chmod(socket, 0o666))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- lanes.New(cfg).Serve(ctx, l) }()
	t.Cleanup(func() {
		must(t, l.Close())
		cancel()
		must(t, <-done)
	})
	return socket
}

func client(t testing.TB, socket string) *control.Client {
	t.Helper()
	c := control.New(socket)
	t.Cleanup(func() { must(t, c.Close()) })
	return c
}

// lend serves one containerd.
func lend(t testing.TB, f *fake, namespaces ...string) *control.Client {
	t.Helper()
	return client(t, serve(t, lanes.Config{Containerd: []lanes.Containerd{{Name: "c", Root: f.root, Namespaces: namespaces}}}))
}

// raw is a connection without a client's manners.
func raw(t testing.TB, socket string) *wire.Conn {
	t.Helper()
	c, err := net.Dial(wire.Network, socket)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	must(t, c.SetDeadline(time.Now().Add(2*time.Minute)))
	return wire.NewConn(c.(*net.UnixConn))
}

// talk sends a request and returns its answer.
func talk(t testing.TB, c *wire.Conn, r wire.Request) wire.Answer {
	t.Helper()
	must(t, c.Send(r, nil))
	var a wire.Answer
	f, err := c.ReceiveFile(&a)
	must(t, err)
	if f != nil {
		must(t, f.Close())
	}
	return a
}

// greeted is one after hello.
func greeted(t testing.TB, socket string) *wire.Conn {
	t.Helper()
	c := raw(t, socket)
	if a := talk(t, c, wire.Request{Op: wire.OpHello, Oldest: wire.Oldest, Newest: wire.Newest}); a.Error != nil {
		t.Fatal(a.Error)
	}
	return c
}

// wants checks an error's code and words.
func wants(t testing.TB, e *wire.Error, code wire.Code, words ...string) {
	t.Helper()
	if e == nil || e.Code != code {
		t.Fatalf("the answer is %+v, want %s", e, code)
	}
	for _, w := range words {
		if !strings.Contains(e.Message, w) {
			t.Errorf("%q lacks %q", e.Message, w)
		}
	}
}
