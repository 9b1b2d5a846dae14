//go:build integration

package integration

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// A fixture is a real image to move about.
type fixture struct {
	name     string
	blobs    [][]byte // config and layers
	manifest []byte
	// probe is what its shell is asked; plain and changed are the answers before
	// and after the filters.
	probe, plain, changed string
	xattr                 string // of a file in it
}

// busyboxArchive is as Docker's containerd store saved it.
const (
	busyboxArchive  = "../../pipeline/scheme/tarball/testdata/images/busybox-1.36.1-musl-amd64-oci.tar"
	busyboxManifest = "sha256:e56bc0f7fc7d4452b17eb4ac0a9261ff4c9a469afa45d2b673e03650716d095d"
	busyboxLayer    = "sha256:94dbb33ae944d61428b376116164810d21d4de1c727fc64df9863b02769b6767"
	busyboxSays     = "BusyBox v1.36.1"
)

// busybox is the real image of one layer.
func busybox(t testing.TB) fixture {
	t.Helper()
	f := fixture{name: "busybox", probe: "busybox | head -n 1 | cut -d' ' -f1-2", plain: busyboxSays, changed: busyboxSays}
	for d, b := range busyboxBlobs(t) {
		if d == busyboxManifest {
			f.manifest = b
		} else {
			f.blobs = append(f.blobs, b)
		}
	}
	return f
}

func busyboxBlobs(t testing.TB) map[digest.Digest][]byte {
	t.Helper()
	whole, err := os.ReadFile(busyboxArchive)
	must(t, err)
	blobs := map[digest.Digest][]byte{}
	for r := tar.NewReader(bytes.NewReader(whole)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return blobs
		}
		must(t, err)
		if strings.HasPrefix(h.Name, "blobs/sha256/") && h.Typeflag == tar.TypeReg {
			b, err := io.ReadAll(r)
			must(t, err)
			blobs[digest.FromBytes(b)] = b
		}
	}
}

// archive packs the image as an OCI layout with manifest.json beside it, as
// docker save does, and returns the path.
func (f fixture) archive(t testing.TB, name string) string {
	t.Helper()
	var m ocispec.Manifest
	decode(t, string(f.manifest), &m)
	saved := map[string]any{"Config": blobName(m.Config.Digest), "RepoTags": []string{name}}
	var layers []string
	for _, l := range m.Layers {
		layers = append(layers, blobName(l.Digest))
	}
	saved["Layers"] = layers
	return f.layout(t, m.MediaType, name, pipelinetest.File{Name: "manifest.json", Body: string(encode(t, []any{saved}))})
}

// layout packs an OCI layout whose root is the fixture's manifest, and returns
// the path.
func (f fixture) layout(t testing.TB, mediaType, name string, more ...pipelinetest.File) string {
	t.Helper()
	root := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(f.manifest), Size: int64(len(f.manifest))}
	root.Annotations = map[string]string{"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{root}}
	path := filepath.Join(t.TempDir(), f.name+".tar")
	out, err := os.Create(path)
	must(t, err)
	w := tar.NewWriter(out)
	add := func(name string, b []byte) {
		must(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(b))}))
		_, err := w.Write(b)
		must(t, err)
	}
	for _, b := range append([][]byte{f.manifest}, f.blobs...) {
		add(blobName(digest.FromBytes(b)), b)
	}
	add("index.json", encode(t, index))
	for _, m := range more {
		add(m.Name, []byte(m.Body))
	}
	add("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	must(t, errors.Join(w.Close(), out.Close()))
	return path
}

func blobName(d digest.Digest) string { return "blobs/sha256/" + d.Encoded() }

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	return b
}

// The filters of the changing runs, and the time they set.
const changedTime = "1000000000"

var changing = []string{"normalize-timestamps:ts=" + changedTime, "exclude:pattern=cache/*.tmp"}

// script makes files in one step and deletes and replaces some in the next.
var script = [][]string{
	{
		"mkdir -p /opt/dir /cache", "echo data >/opt/data", "ln /opt/data /opt/hard", "ln -s data /opt/soft",
		"echo tool >/opt/setuid", "chmod 4755 /opt/setuid", "echo gone >/opt/gone", "echo old >/opt/dir/old", "echo x >/cache/x.tmp",
	},
	{"rm -r /opt/gone /opt/dir", "mkdir /opt/dir", "echo new >/opt/dir/new", "echo data2 >/opt/data2"},
}

// layered asks for all that script made.
const probeLayered = `cat /opt/hard /opt/soft /opt/dir/new; ls /opt /opt/dir; stat -c %a /opt/setuid
[ /opt/data -ef /opt/hard ] && echo one file; [ -e /cache/x.tmp ] && echo cached; [ "$(stat -c %Y /opt/data)" = ` + changedTime + ` ] && echo old; true`

const saysLayered = "data\ndata\nnew\n/opt:\ndata\ndata2\ndir\nhard\nsetuid\nsoft\n\n/opt/dir:\nnew\n4755\none file"

// mayUseRawSockets is cap_net_raw=ep as the kernel keeps it (struct vfs_cap_data,
// revision 2).
const mayUseRawSockets = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// layered is busybox with layers on top that hold what images hold: hard links,
// links, modes, extended attributes, whiteouts of files and folders. Each test,
// with its subtests, has one of its own: what it removes nobody else is using.
func layered(t testing.TB) fixture { return layeredUpon(t) }

// own is layered upon a layer of its own: no other test has any of it in a daemon
// that knows layers by those below.
func own(t testing.TB) fixture {
	return layeredUpon(t, pipelinetest.Tar(t, pipelinetest.File{Name: "own", Body: rand.Text()}))
}

func layeredUpon(t testing.TB, bottom ...[]byte) fixture {
	t.Helper()
	store := pipelinetest.NewStore()
	first := []pipelinetest.File{
		{Name: "opt/"},
		{Name: "opt/dir/"},
		{Name: "cache/"},
		{Name: "opt/data", Body: "data\n"},
		{Name: "opt/hard", Link: "opt/data", Type: tar.TypeLink},
		{Name: "opt/soft", Link: "data", Type: tar.TypeSymlink},
		{Name: "opt/setuid", Body: "tool\n", Mode: 0o4755, PAX: map[string]string{"SCHILY.xattr.user.occystrap": "kept"}},
		{Name: "capable", Body: "tool\n", Mode: 0o755, PAX: map[string]string{"SCHILY.xattr.security.capability": mayUseRawSockets}},
		{Name: "opt/gone", Body: "gone\n"},
		{Name: "opt/dir/old", Body: "old\n"},
		{Name: "cache/x.tmp", Body: "x\n"},
		{Name: "test", Body: rootName(t)},
	}
	second := []pipelinetest.File{
		{Name: "opt/"},
		{Name: "opt/.wh.gone"},
		{Name: "opt/dir/"},
		{Name: "opt/dir/.wh..wh..opq"},
		{Name: "opt/dir/new", Body: "new\n"},
		{Name: "opt/data2", Body: "data2\n"},
	}
	desc := store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: append(bottom,
		gunzip(t, busyboxBlobs(t)[busyboxLayer]), pipelinetest.Tar(t, first...), pipelinetest.Tar(t, second...),
	)})
	f := builtFixture()
	f.name, f.xattr, f.manifest = "layered", "kept", store.Bytes(desc.Digest)
	f.addBlobs(t, store)
	return f
}

// rootName is the name of the test that a subtest belongs to.
func rootName(t testing.TB) string {
	name, _, _ := strings.Cut(t.Name(), "/")
	return name
}

// addBlobs takes config and layers of the fixture's manifest from a store.
func (f *fixture) addBlobs(t testing.TB, store *pipelinetest.Store) {
	t.Helper()
	var m ocispec.Manifest
	decode(t, string(f.manifest), &m)
	for _, d := range append(m.Layers, m.Config) {
		f.blobs = append(f.blobs, store.Bytes(d.Digest))
	}
}

func gunzip(t testing.TB, b []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	must(t, err)
	plain, err := io.ReadAll(z)
	must(t, err)
	return plain
}

// builtFixture is what engine.build makes.
func builtFixture() fixture {
	return fixture{name: "built", probe: probeLayered, plain: saysLayered + "\ncached", changed: saysLayered + "\nold"}
}

func dockerfile(base string) string {
	var b strings.Builder
	fmt.Fprintln(&b, "FROM", base)
	for _, step := range script {
		fmt.Fprintln(&b, "RUN", strings.Join(step, " && "))
	}
	return b.String()
}

// An expectation is what an image should be after a run.
type expectation struct {
	fixture      fixture
	from         identity
	filtered     bool
	manifestKept bool // also by a daemon that makes its own otherwise
}

func (w expectation) says() string {
	if w.filtered {
		return w.fixture.changed
	}
	return w.fixture.plain
}

// compare checks that an image is the one it came from; after filters, that it
// is another one with as many layers.
func (w expectation) compare(t testing.TB, where string, got identity) {
	t.Helper()
	if w.filtered {
		if len(got.diffIDs) != len(w.from.diffIDs) || slices.Equal(got.diffIDs, w.from.diffIDs) {
			t.Errorf("%s: layers %v; want as many as %v, and others", where, got.diffIDs, w.from.diffIDs)
		}
		return
	}
	if !slices.Equal(got.diffIDs, w.from.diffIDs) {
		t.Errorf("%s: layers %v, want %v", where, got.diffIDs, w.from.diffIDs)
	}
	for what, d := range map[string][2]string{"manifest": {got.manifest, w.from.manifest}, "config": {got.config, w.from.config}} {
		if d[0] != "" && d[1] != "" && d[0] != d[1] {
			t.Errorf("%s: %s %s, want %s", where, what, d[0], d[1])
		}
	}
}

// compareXattrs looks for the fixture's extended attribute in layers that
// skopeo unpacked.
func (w expectation) compareXattrs(t testing.TB, dir string) {
	t.Helper()
	if w.fixture.xattr == "" {
		return
	}
	files, err := os.ReadDir(dir)
	must(t, err)
	for _, f := range files {
		if xattr(t, filepath.Join(dir, f.Name())) == w.fixture.xattr {
			return
		}
	}
	t.Errorf("no layer has the extended attribute %q", w.fixture.xattr)
}

// xattr reads the attribute of opt/setuid in a layer; "" when there is none.
func xattr(t testing.TB, path string) string {
	t.Helper()
	whole, err := os.ReadFile(path)
	must(t, err)
	z, err := gzip.NewReader(bytes.NewReader(whole))
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, io.EOF) {
		return ""
	}
	must(t, err)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err != nil {
			return ""
		}
		if h.Name == "opt/setuid" {
			return h.PAXRecords["SCHILY.xattr.user.occystrap"]
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
