package tarball_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/ulikunitz/xz"
)

// entry is one member of an archive under construction.
type entry struct {
	name, link string
	typ        byte
	body       []byte
	format     tar.Format
}

func file(name string, body []byte) entry { return entry{name: name, typ: tar.TypeReg, body: body} }
func symlink(name, to string) entry       { return entry{name: name, typ: tar.TypeSymlink, link: to} }
func hardlink(name, to string) entry      { return entry{name: name, typ: tar.TypeLink, link: to} }
func directory(name string) entry         { return entry{name: name, typ: tar.TypeDir} }

func pack(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Linkname: e.link, Typeflag: e.typ, Size: int64(len(e.body)), Mode: 0o644, Format: e.format}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// image is a picture of an image: plain layers, and its config.
type image struct {
	layers  [][]byte
	config  []byte
	diffIDs []digest.Digest
}

// newImage makes an image of n layers whose content depends on salt.
func newImage(t testing.TB, salt string, n int) image {
	t.Helper()
	var i image
	for k := range n {
		body := bytes.Repeat(fmt.Appendf(nil, "%s %d\n", salt, k), 1000*(k+1))
		i.add(pack(t, file(fmt.Sprintf("f%d", k), body)))
	}
	i.seal(t)
	return i
}

func (i *image) add(layer []byte) {
	i.layers = append(i.layers, layer)
	i.diffIDs = append(i.diffIDs, digest.FromBytes(layer))
}

func (i *image) seal(t testing.TB) {
	i.config = marshal(t, map[string]any{
		"architecture": "amd64", "os": "linux", "x-unknown": map[string]any{"kept": true},
		"rootfs": map[string]any{"type": "layers", "diff_ids": i.diffIDs},
	})
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func hexOf(b []byte) string { return digest.FromBytes(b).Encoded() }

type savedEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// dockerSave is the layout of docker save 1.10 to 24.
func (i image) dockerSave(t testing.TB, tags ...string) []byte {
	t.Helper()
	var es []entry
	saved := savedEntry{Config: hexOf(i.config) + ".json", RepoTags: tags}
	for k, l := range i.layers {
		id := hexOf(fmt.Appendf(nil, "v1 id %d", k))
		es = append(es, directory(id+"/"), file(id+"/VERSION", []byte("1.0")), file(id+"/json", []byte("{}")), file(id+"/layer.tar", l))
		saved.Layers = append(saved.Layers, id+"/layer.tar")
	}
	es = append(es, file(saved.Config, i.config), file("manifest.json", marshal(t, []savedEntry{saved})), file("repositories", []byte("{}")))
	return pack(t, es...)
}

// oci is an OCI layout; pack turns a layer into its blob.
func (i image) oci(t testing.TB, layout func([]entry) []entry, compress func(testing.TB, []byte) []byte, mediaType string, annotations map[string]string) []byte {
	t.Helper()
	es, desc := i.blobs(t, compress, mediaType)
	desc.Annotations = annotations
	idx := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []ocispec.Descriptor{desc}}
	es = append(es, file("index.json", marshal(t, idx)), file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)))
	if layout != nil {
		es = layout(es)
	}
	return pack(t, es...)
}

// blobs are the members of an image's blobs, layers first, and its manifest.
func (i image) blobs(t testing.TB, compress func(testing.TB, []byte) []byte, mediaType string) ([]entry, ocispec.Descriptor) {
	t.Helper()
	var es []entry
	blob := func(mediaType string, b []byte) ocispec.Descriptor {
		es = append(es, file("blobs/sha256/"+hexOf(b), b))
		return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, l := range i.layers {
		m.Layers = append(m.Layers, blob(mediaType, compress(t, l)))
	}
	m.Config = blob(ocispec.MediaTypeImageConfig, i.config)
	return es, blob(ocispec.MediaTypeImageManifest, marshal(t, m))
}

func plain(_ testing.TB, b []byte) []byte { return b }

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstandard(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(b, nil)
}

func xzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// store puts an archive into a file.
func store(t testing.TB, raw []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
