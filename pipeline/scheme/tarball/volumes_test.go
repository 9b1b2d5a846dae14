package tarball_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	ours "github.com/occystrap/occystrap/pipeline/scheme/tarball"
)

// noisy is an image of layers that do not compress: the archive has some 300 KB.
func noisy(t testing.TB) (*site, ocispec.Descriptor) {
	t.Helper()
	s := &site{store: pipelinetest.NewStore()}
	r := rand.NewChaCha8([32]byte{7})
	for _, n := range []string{"a", "b", "c"} {
		b := make([]byte, 100<<10)
		if _, err := r.Read(b); err != nil {
			t.Fatal(err)
		}
		s.tars = append(s.tars, pipelinetest.Tar(t, pipelinetest.File{Name: n, Body: string(b)}))
	}
	return s, s.image(t, pipeline.Gzip, 0, 1, 2)
}

// split writes volumes of 64 KiB and returns their directory.
func split(t testing.TB, name, options string) (s *site, dir string, whole []byte) {
	t.Helper()
	s, root := noisy(t)
	dir = t.TempDir()
	whole = mustSend(t, s, root, "tar://"+output(t, "whole.tar"))
	if err := s.send(t, root, "tar://"+filepath.Join(dir, name)+"?split=64k"+options, nil); err != nil {
		t.Fatal(err)
	}
	return s, dir, whole
}

func list(t testing.TB, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestVolumesAreTheArchiveInPieces(t *testing.T) {
	t.Parallel()
	_, dir, whole := split(t, "delta.tar", "")
	want := []string{"SHA256SUMS", "delta.tar.001", "delta.tar.002", "delta.tar.003", "delta.tar.004", "delta.tar.005"}
	if d := cmp.Diff(want, list(t, dir)); d != "" {
		t.Fatal(d)
	}
	var joined []byte
	for _, name := range want[1:] {
		joined = append(joined, read(t, filepath.Join(dir, name))...)
	}
	if !bytes.Equal(joined, whole) {
		t.Error("one behind the other they are not the archive")
	}
	sums := exec.CommandContext(t.Context(), "sha256sum", "-c", "SHA256SUMS")
	sums.Dir = dir
	if out, err := sums.CombinedOutput(); err != nil || strings.Count(string(out), ": OK") != 5 {
		t.Errorf("sha256sum -c: %v\n%s", err, out)
	}
}

func TestVolumesAreReadBack(t *testing.T) {
	t.Parallel()
	for _, options := range []string{"", "&compress=zstd"} {
		_, dir, whole := split(t, "delta.tar", options)
		want := drainFile(t, store(t, whole))
		for _, name := range []string{"delta.tar", "delta.tar.001", "delta.tar.003"} {
			if d := cmp.Diff(want, drainFile(t, filepath.Join(dir, name))); d != "" {
				t.Errorf("%s%s: %s", name, options, d)
			}
		}
	}
}

// drainFile reads an archive whole: the digests of its layers.
func drainFile(t testing.TB, path string) (out []string) {
	t.Helper()
	got, err := take(t.Context(), source(t, "tar://"+path, ours.Config{}), pipeline.Query{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range got.roots() {
		out = append(out, m.Desc.Digest.String())
	}
	return out
}

func TestWhatIsWrongWithVolumesIsToldByName(t *testing.T) {
	t.Parallel()
	edit := func(t *testing.T, path string, do func([]byte) []byte) {
		if err := os.WriteFile(path, do(read(t, path)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	for name, c := range map[string]struct {
		do   func(t *testing.T, at func(n string) string)
		want string
	}{
		"missing":   {func(t *testing.T, at func(string) string) { remove(t, at("002"), at("004")) }, "of its 5 volumes delta.tar.002, delta.tar.004 is missing"},
		"first":     {func(t *testing.T, at func(string) string) { remove(t, at("001")) }, "delta.tar.001 is missing"},
		"last":      {func(t *testing.T, at func(string) string) { remove(t, at("005")) }, "delta.tar.005 is missing"},
		"cut short": {func(t *testing.T, at func(string) string) { edit(t, at("003"), func(b []byte) []byte { return b[:9] }) }, "volume delta.tar.003 has 9 bytes and should have 65536"},
		"empty":     {func(t *testing.T, at func(string) string) { edit(t, at("005"), func([]byte) []byte { return nil }) }, "volume delta.tar.005 has 0 bytes"},
		"damaged":   {func(t *testing.T, at func(string) string) { edit(t, at("002"), flip) }, "volume delta.tar.002 is damaged"},
		"exchanged": {func(t *testing.T, at func(string) string) {
			a, b := read(t, at("002")), read(t, at("003"))
			edit(t, at("002"), func([]byte) []byte { return b })
			edit(t, at("003"), func([]byte) []byte { return a })
		}, "volume delta.tar.002 has the content of delta.tar.003"},
		"of another": {func(t *testing.T, at func(string) string) {
			if err := os.WriteFile(at("006"), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "volume delta.tar.006 does not belong to it"},
		"no sums": {func(t *testing.T, at func(string) string) {
			edit(t, at("002"), flip)
			remove(t, filepath.Join(filepath.Dir(at("001")), "SHA256SUMS"))
		}, "there is no SHA256SUMS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, options := range []string{"", "&compress=gzip"} {
				if options != "" && (name == "no sums") {
					continue // gzip tells that it is damaged, and that is all
				}
				_, dir, _ := split(t, "delta.tar", options)
				c.do(t, func(n string) string { return filepath.Join(dir, "delta.tar."+n) })
				_, err := take(t.Context(), source(t, "tar://"+filepath.Join(dir, "delta.tar"), ours.Config{}), pipeline.Query{})
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: the error is %v, not %q", options, err, c.want)
				}
			}
		})
	}
}

func remove(t testing.TB, paths ...string) {
	t.Helper()
	for _, p := range paths {
		if err := os.Remove(p); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVolumesReplaceWhatHadTheirName(t *testing.T) {
	t.Parallel()
	_, dir, whole := split(t, "delta.tar", "")
	path := filepath.Join(dir, "delta.tar")
	for name, body := range map[string]string{"delta.tar": "in one piece", "delta.tar.007": "old", "other.iso": "x", "delta.tar.7": "mine"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sums := filepath.Join(dir, "SHA256SUMS")
	line := strings.Repeat("0", 64) + "  other.iso"
	if err := os.WriteFile(sums, append([]byte("# mine\n"+line+"\n"), read(t, sums)...), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, "small")
	if err := s.send(t, s.image(t, pipeline.Gzip, 0), "tar://"+path+"?split=64k", nil); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"SHA256SUMS", "delta.tar.001", "delta.tar.7", "other.iso"}, list(t, dir)); d != "" {
		t.Error(d)
	}
	lines := strings.Split(strings.TrimSpace(string(read(t, sums))), "\n")
	if len(lines) != 3 || lines[0] != "# mine" || lines[1] != line || !strings.HasSuffix(lines[2], "  delta.tar.001") {
		t.Errorf("the sums are %q", lines)
	}
	if got := read(t, path+".001"); len(got) >= len(whole) {
		t.Error("the volume is the old one")
	}
}

func TestFailedRunLeavesTheVolumesThatThereAre(t *testing.T) {
	t.Parallel()
	s, dir, _ := split(t, "delta.tar", "")
	before := list(t, dir)
	first := read(t, filepath.Join(dir, "delta.tar.001"))
	root := s.image(t, pipeline.Gzip, 2, 1)
	s.store.Corrupt(s.blob(t, pipeline.Gzip, 1), []byte("damaged"))
	if err := s.send(t, root, "tar://"+filepath.Join(dir, "delta.tar")+"?split=70k", nil); err == nil {
		t.Fatal("a damaged layer is sent")
	}
	if d := cmp.Diff(before, list(t, dir)); d != "" {
		t.Error(d)
	}
	if !bytes.Equal(first, read(t, filepath.Join(dir, "delta.tar.001"))) {
		t.Error("a volume is another")
	}
}

func TestNamesOfVolumesMayHoldAnything(t *testing.T) {
	t.Parallel()
	name := "a\\b\nc d.tar"
	_, dir, whole := split(t, name, "")
	sums := exec.CommandContext(t.Context(), "sha256sum", "--strict", "-c", "SHA256SUMS")
	sums.Dir = dir
	if out, err := sums.CombinedOutput(); err != nil {
		t.Errorf("sha256sum -c: %v\n%s", err, out)
	}
	if d := cmp.Diff(drainFile(t, store(t, whole)), drainFile(t, filepath.Join(dir, name))); d != "" {
		t.Error(d)
	}
	if err := os.Remove(filepath.Join(dir, name+".005")); err != nil {
		t.Fatal(err)
	}
	_, err := take(t.Context(), source(t, "tar://"+filepath.Join(dir, name), ours.Config{}), pipeline.Query{})
	if !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("the last volume is missed by its sum: %v", err)
	}
}

func TestFileWhoseNameEndsInANumberIsAnArchive(t *testing.T) {
	t.Parallel()
	s := newSite(t, "base")
	path := output(t, "build.123")
	mustSend(t, s, s.image(t, pipeline.Gzip, 0), "tar://"+path)
	if got := drainFile(t, path); len(got) != 1 {
		t.Errorf("it has %v", got)
	}
}

func TestSizesOfVolumesAreRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ uri, want string }{
		{"tar://x.tar?split=1k", "64k or more"},
		{"tar://x.tar?split=much", "split is \"much\""},
		{"tar://x.tar?split=-4g", "split is \"-4g\""},
		{"tar://-?split=4g", "one stream"},
		{"tar://x.tar?have=h.json&format=docker", "format=docker"},
		{"tar://x.tar?split=4GiB&compress=zstd", ""},
		{"tar://x.tar?split=700MB", ""},
	} {
		_, err := pipeline.Schemes{ours.Scheme(ours.Config{})}.Sink(c.uri)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: the error is %v, not %q", c.uri, err, c.want)
		}
	}
}

func TestVolumesAreTheSameWhateverTheOrderOfArrival(t *testing.T) {
	t.Parallel()
	s, root := noisy(t)
	var first []byte
	for _, parallel := range []int{1, 3} {
		dir := t.TempDir()
		dst := sink(t, "tar://"+filepath.Join(dir, "d.tar")+"?split=64k", ours.Config{})
		if _, err := pipeline.Run(t.Context(), s.store.Source(root), nil, dst, pipeline.Options{Parallel: parallel}); err != nil {
			t.Fatal(err)
		}
		var all []byte
		for _, n := range list(t, dir) {
			all = append(all, read(t, filepath.Join(dir, n))...)
		}
		if first == nil {
			first = all
		} else if !bytes.Equal(all, first) {
			t.Error("the volumes are others")
		}
	}
}

// Read a piece that crosses volumes, and one behind the end.
func TestReadingBehindTheLastVolumeEnds(t *testing.T) {
	t.Parallel()
	_, dir, whole := split(t, "delta.tar", "")
	remove(t, filepath.Join(dir, "SHA256SUMS"), filepath.Join(dir, "delta.tar.005"))
	_, err := take(t.Context(), source(t, "tar://"+filepath.Join(dir, "delta.tar"), ours.Config{}), pipeline.Query{})
	if err == nil || !errors.Is(err, io.ErrUnexpectedEOF) && !strings.Contains(err.Error(), "cut short") {
		t.Errorf("without its end: %v", err)
	}
	if !slices.Contains(list(t, dir), "delta.tar.004") || len(whole) == 0 {
		t.Error("volumes are gone")
	}
}
