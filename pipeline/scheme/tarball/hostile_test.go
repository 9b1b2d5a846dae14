package tarball_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/tarball"
)

// badArchive is one that must be refused, with what the message has to say.
type badArchive struct {
	name string
	raw  []byte
	want string
	is   error // nil: no sentinel
	lim  pipeline.Limits
}

func TestHostileArchivesAreRefusedClearly(t *testing.T) {
	t.Parallel()
	cases := append(brokenTars(t), brokenManifests(t)...)
	for _, c := range append(cases, brokenNames(t)...) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			bothWays(t, c.raw, "", func(t *testing.T, src pipeline.Source) {
				_, err := take(t.Context(), src, pipeline.Query{Limits: c.lim})
				if err == nil {
					t.Fatal("it was accepted")
				}
				if !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
					t.Errorf("got %q, want it to say %q", err, c.want)
				}
				if !strings.Contains(err.Error(), "image.tar") && !strings.Contains(err.Error(), "standard input") {
					t.Errorf("it does not say which archive: %q", err)
				}
			})
		})
	}
}

func brokenTars(t *testing.T) []badArchive {
	t.Helper()
	good := newImage(t, "broken", 2).dockerSave(t, "app:1")
	negative := pack(t, file("manifest.json", []byte("[]")))
	copy(negative[124:136], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf0})
	checksum(negative[:512])
	huge := bytes.Clone(good)
	copy(huge[124:136], "77777777777\x00")
	huge[156] = tar.TypeReg
	checksum(huge[:512])
	sparse := pack(t, entry{name: "a.tar", typ: tar.TypeReg, body: make([]byte, 512), format: tar.FormatGNU})
	sparse[156] = tar.TypeGNUSparse
	copy(sparse[257:265], "ustar  \x00")
	copy(sparse[386:410], "00000000000\x0000000001000\x00") // one run of 512 bytes
	copy(sparse[483:495], "00000001000\x00")
	checksum(sparse[:512])
	return []badArchive{
		{name: "sparse member", raw: sparse, want: "stored as a sparse file"},
		{name: "empty file", want: "empty"},
		{name: "only the end of a tar", raw: make([]byte, 10240), want: "empty"},
		{name: "not a tar", raw: bytes.Repeat([]byte("no tar "), 1000), want: "not a tar archive"},
		{name: "a few letters", raw: []byte("hello"), want: "not a tar archive"},
		{name: "cut in a member", raw: good[:len(good)/2], want: "cut short"},
		{name: "cut in the first header", raw: good[:300], want: "cut short"},
		{name: "cut gzip", raw: gzipped(t, good)[:300], want: "cut short"},
		{name: "negative size", raw: negative, want: "not a tar archive"},
		{name: "size of 8 GB in a small file", raw: huge, want: "cut short"},
		{name: "many entries", raw: pack(t, file("a", nil), file("b", nil), file("c", nil), file("d", nil)), want: "--max-entries", is: pipeline.ErrLimit, lim: pipeline.Limits{Entries: 3}},
		{name: "many directories", raw: pack(t, directory("a/"), directory("b/"), directory("c/")), want: "--max-entries", is: pipeline.ErrLimit, lim: pipeline.Limits{Entries: 2}},
	}
}

// checksum makes a tar header valid again.
func checksum(h []byte) {
	copy(h[148:156], "        ")
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	s := strconv.FormatInt(int64(sum), 8)
	copy(h[148:156], strings.Repeat("0", 6-len(s))+s+"\x00 ")
}

func brokenManifests(t *testing.T) []badArchive {
	t.Helper()
	i := newImage(t, "manifests", 2)
	saved := func(config string, layers ...string) entry {
		return file("manifest.json", marshal(t, []savedEntry{{Config: config, Layers: layers}}))
	}
	a, b := file("a.tar", i.layers[0]), file("b.tar", i.layers[1])
	name := hexOf(i.config) + ".json"
	config := file(name, i.config)
	swapped := i.oci(t, func(es []entry) []entry {
		es[0].body = bytes.Repeat([]byte{'x'}, len(es[0].body))
		return es
	}, gzipped, ocispec.MediaTypeImageLayerGzip, nil)
	longer := i.oci(t, func(es []entry) []entry {
		es[0].body = append(bytes.Clone(es[0].body), 'x')
		return es
	}, gzipped, ocispec.MediaTypeImageLayerGzip, nil)
	noLayer := i.oci(t, func(es []entry) []entry { return es[1:] }, gzipped, ocispec.MediaTypeImageLayerGzip, nil)
	gone := marshal(t, ocispec.Index{Manifests: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("gone"), Size: 1}}})
	return []badArchive{
		{name: "no manifest", raw: pack(t, file("etc/passwd", []byte("root"))), want: "has no manifest.json and no index.json"},
		{name: "before Docker 1.10", raw: pack(t, file("repositories", []byte("{}")), file("id/layer.tar", i.layers[0])), want: "docker save"},
		{name: "no image", raw: pack(t, file("manifest.json", []byte("[]"))), want: "lists no image"},
		{name: "no JSON", raw: pack(t, file("manifest.json", []byte("{"))), want: "manifest.json"},
		{name: "index that is no JSON", raw: pack(t, file("index.json", []byte("[]"))), want: "index.json"},
		{name: "index without its manifest", raw: pack(t, file("index.json", gone)), want: "does not hold it", is: pipeline.ErrNotFound},
		{name: "index with a bad digest", raw: pack(t, file("index.json", []byte(`{"manifests":[{"digest":"sha256:../../x"}]}`))), want: "digest"},
		{name: "missing layer", raw: pack(t, a, config, saved(name, "a.tar", "b.tar")), want: "b.tar is not in it", is: pipeline.ErrNotFound},
		{name: "missing config", raw: pack(t, a, b, saved(name, "a.tar", "b.tar")), want: "save the image again", is: pipeline.ErrNotFound},
		{name: "missing blob", raw: noLayer, want: "not found", is: pipeline.ErrNotFound},
		{name: "layers swapped", raw: pack(t, a, b, config, saved(name, "b.tar", "a.tar")), want: "digest mismatch", is: pipeline.ErrDigest},
		{name: "more layers than diff IDs", raw: pack(t, a, b, config, saved(name, "a.tar", "b.tar", "a.tar")), want: "2 diff IDs for 3 layers"},
		{name: "config of another image", raw: pack(t, a, b, file(name, []byte("{}")), saved(name, "a.tar", "b.tar")), want: "digest mismatch", is: pipeline.ErrDigest},
		{name: "blob with other bytes", raw: swapped, want: "digest mismatch", is: pipeline.ErrDigest},
		{name: "blob of another size", raw: longer, want: "digest mismatch", is: pipeline.ErrDigest},
		{name: "bad diff ID", raw: pack(t, file("c.json", []byte(`{"rootfs":{"diff_ids":["../x"]}}`)), a, saved("c.json", "a.tar")), want: "diff ID"},
		{name: "layer that manifests cannot name", raw: pack(t, file("a.tar", xzipped(t, i.layers[0])), b, config, saved(name, "a.tar", "b.tar")), want: "xz"},
		{name: "manifest of 50 MB", raw: pack(t, file("manifest.json", bytes.Repeat([]byte(" "), 50<<20))), want: "--max-manifest-size", is: pipeline.ErrLimit},
		{name: "gzip bomb of JSON", raw: gzipped(t, pack(t, file("index.json", make([]byte, 20<<20)))), want: "--max-manifest-size", is: pipeline.ErrLimit},
		{name: "many images", raw: pack(t, file("manifest.json", []byte("["+strings.Repeat("{},", 10)+"{}]"))), want: "lists 11 images", is: pipeline.ErrLimit, lim: pipeline.Limits{Manifests: 10}},
	}
}

func brokenNames(t *testing.T) []badArchive {
	t.Helper()
	i := newImage(t, "names", 1)
	layer, config := file("a.tar", i.layers[0]), file("c.json", i.config)
	saved := func(config, layer string) entry {
		return file("manifest.json", marshal(t, []savedEntry{{Config: config, Layers: []string{layer}}}))
	}
	return []badArchive{
		{name: "member above the tree", raw: pack(t, file("../etc/passwd", nil)), want: "leads out of the archive"},
		{name: "member hidden above the tree", raw: pack(t, file("a/../../etc/passwd", nil)), want: "leads out of the archive"},
		{name: "absolute member", raw: pack(t, file("/etc/passwd", nil)), want: "leads out of the archive"},
		{name: "absolute layer", raw: pack(t, layer, config, saved("c.json", "/etc/passwd")), want: "leads out of the archive"},
		{name: "layer above the tree", raw: pack(t, layer, config, saved("c.json", "../../etc/passwd")), want: "leads out of the archive"},
		{name: "config above the tree", raw: pack(t, layer, config, saved("../c.json", "a.tar")), want: "leads out of the archive"},
		{name: "no layer name", raw: pack(t, layer, config, saved("c.json", "")), want: "leads out of the archive"},
		{name: "absolute link", raw: pack(t, symlink("a.tar", "/etc/passwd"), config, saved("c.json", "a.tar")), want: "out of the archive"},
		{name: "link above the tree", raw: pack(t, symlink("x/a.tar", "../../etc/passwd")), want: "out of the archive"},
		{name: "hard link above the tree", raw: pack(t, hardlink("x/a.tar", "../a.tar")), want: "out of the archive"},
		{name: "links in a circle", raw: pack(t, symlink("a.tar", "b.tar"), symlink("b.tar", "a.tar"), config, saved("c.json", "a.tar")), want: "circle"},
		{name: "link to nothing", raw: pack(t, symlink("a.tar", "b.tar"), config, saved("c.json", "a.tar")), want: "b.tar is not in it"},
		{name: "long name", raw: pack(t, file(strings.Repeat("x/", 3000)+"y", nil)), want: "too long"},
		{name: "two different members of one name", raw: pack(t, layer, file("./a.tar", []byte("other"))), want: "two different members"},
		{name: "two manifests", raw: pack(t, layer, config, saved("c.json", "a.tar"), saved("c.json", "b.tar")), want: "two different members"},
	}
}

func TestSparseMembersAreRefused(t *testing.T) {
	t.Parallel()
	// GNU tar --format=posix writes this for a file with holes.
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	body := []byte("1\n0\n1\n")
	body = append(body, make([]byte, 512-len(body))...)
	body = append(body, 'x')
	h := &tar.Header{Name: "GNUSparseFile.0/a.tar", Typeflag: tar.TypeReg, Size: int64(len(body)), Mode: 0o644, Format: tar.FormatPAX}
	h.PAXRecords = map[string]string{"OCCYSTRAP.sparse.major": "1", "OCCYSTRAP.sparse.minor": "0", "OCCYSTRAP.sparse.name": "a.tar", "OCCYSTRAP.sparse.realsize": "1"}
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	// archive/tar will not write these records; shift them in, at equal length.
	raw := bytes.ReplaceAll(b.Bytes(), []byte(" OCCYSTRAP.sparse."), []byte("       GNU.sparse."))
	raw = rewritePAX(raw)
	bothWays(t, raw, "", func(t *testing.T, src pipeline.Source) {
		_, err := take(t.Context(), src, pipeline.Query{})
		if err == nil || !strings.Contains(err.Error(), "stored as a sparse file") {
			t.Errorf("got %v", err)
		}
	})
}

// rewritePAX corrects records whose key was replaced by a shorter one and
// blanks: the length stays, the blanks go to the end of the value's number.
func rewritePAX(raw []byte) []byte {
	for _, line := range bytes.SplitAfter(raw[512:1024], []byte("\n")) {
		number, rest, ok := bytes.Cut(line, []byte("       "))
		if !ok {
			continue
		}
		// "30 GNU.sparse.major=1\n" with the number padded by zeros instead.
		fixed := append(bytes.Repeat([]byte("0"), 6), number...)
		fixed = append(append(fixed, ' '), rest...)
		copy(line, fixed)
	}
	return raw
}

func TestSameMemberTwiceIsHarmless(t *testing.T) {
	t.Parallel()
	i := newImage(t, "same", 1)
	saved := file("manifest.json", marshal(t, []savedEntry{{Config: "c.json", Layers: []string{"a.tar"}}}))
	a := file("a.tar", i.layers[0])
	expect(t, pack(t, a, a, file("c.json", i.config), saved, saved), i)
}

func TestBlobCannotBeSwappedByALaterOne(t *testing.T) {
	t.Parallel()
	i := newImage(t, "swap", 1)
	expect(t, i.oci(t, func(es []entry) []entry {
		return append(es, file(es[0].name, bytes.Repeat([]byte{'x'}, len(es[0].body))))
	}, gzipped, ocispec.MediaTypeImageLayerGzip, nil), i)
}

func TestMissingFileIsNotFound(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "none.tar")
	_, err := source(t, "tar://"+path, tarball.Config{}).Open(t.Context(), pipeline.Query{})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	_, err = source(t, "tar://"+filepath.Dir(path), tarball.Config{}).Open(t.Context(), pipeline.Query{})
	if err == nil || !strings.Contains(err.Error(), "dir://") {
		t.Errorf("a directory: got %v", err)
	}
}

// FuzzArchive feeds damaged archives: any answer but a crash or a layer that is
// not what it says will do.
func FuzzArchive(f *testing.F) {
	i := newImage(f, "fuzz", 1)
	f.Add(i.dockerSave(f, "app:1"))
	f.Add(i.oci(f, nil, gzipped, ocispec.MediaTypeImageLayerGzip, nil))
	f.Add(gzipped(f, i.dockerSave(f)))
	f.Add(pack(f, symlink("a", "b"), hardlink("b", "a"), file("manifest.json", []byte(`[{"Config":"a","Layers":["b"]}]`))))
	f.Fuzz(func(t *testing.T, raw []byte) {
		q := pipeline.Query{Limits: pipeline.Limits{Manifest: 1 << 20, Entries: 1000}}
		fromFile, err1 := take(t.Context(), source(t, "tar://"+strings.ReplaceAll(store(t, raw), "#", "%23"), tarball.Config{}), q)
		fromStream, err2 := take(t.Context(), source(t, "tar://-", tarball.Config{Stdin: bytes.NewReader(raw)}), q)
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("file and stream differ: %v, %v", err1, err2)
		}
		if err1 == nil && len(fromFile.manifests) != len(fromStream.manifests) {
			t.Fatal("file and stream give different images")
		}
	})
}

// FuzzManifest feeds manifest.json, index.json and config.
func FuzzManifest(f *testing.F) {
	i := newImage(f, "fuzz", 1)
	f.Add([]byte(`[{"Config":"c.json","RepoTags":["a:1"],"Layers":["a.tar"]}]`), []byte(`{"manifests":null}`), i.config)
	f.Add([]byte(`[]`), []byte(`{"manifests":[{"digest":"sha256:`+hexOf(i.config)+`"}]}`), []byte(`{"rootfs":{"diff_ids":[""]}}`))
	f.Fuzz(func(t *testing.T, saved, index, config []byte) {
		raw := pack(t, file("manifest.json", saved), file("index.json", index), file("c.json", config), file("blobs/sha256/"+hexOf(config), config), file("a.tar", i.layers[0]))
		got, err := take(t.Context(), source(t, "tar://-", tarball.Config{Stdin: bytes.NewReader(raw), TempDir: os.TempDir()}), pipeline.Query{})
		if err == nil && len(got.manifests) == 0 {
			t.Fatal("no image and no error")
		}
	})
}
