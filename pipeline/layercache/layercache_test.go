package layercache_test

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/layercache"
)

// noon is when the tests take place.
var noon = time.Date(2026, 2, 3, 12, 0, 0, 0, time.UTC)

func at(t time.Time) func() time.Time { return func() time.Time { return t } }

// of is the digest of a word.
func of(word string) digest.Digest { return digest.FromString(word) }

func key(layer, recipe string) pipeline.CacheKey {
	return pipeline.CacheKey{Layer: of(layer), Recipe: recipe, Compression: pipeline.Gzip}
}

func became(word string) pipeline.CachedLayer {
	return pipeline.CachedLayer{
		Blob:        ocispec.Descriptor{Digest: of(word), Size: int64(len(word))},
		Compression: pipeline.Gzip, DiffID: of("plain " + word), Place: "registry.example/app",
	}
}

func open(t testing.TB, path string, cfg layercache.Config) *layercache.Cache {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = at(noon)
	}
	if cfg.Warn == nil {
		cfg.Warn = func(s string) { t.Errorf("warning: %s", s) }
	}
	c, err := layercache.Open(t.Context(), path, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func save(t testing.TB, c *layercache.Cache) {
	t.Helper()
	if err := c.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// record opens a file, records one outcome and saves it.
func record(t testing.TB, path string, cfg layercache.Config, layer, recipe, result string) {
	t.Helper()
	c := open(t, path, cfg)
	c.Record(key(layer, recipe), became(result))
	save(t, c)
}

func knows(t testing.TB, c *layercache.Cache, layer, recipe, result string) {
	t.Helper()
	got, ok := c.Lookup(key(layer, recipe))
	if diff := cmp.Diff(became(result), got); !ok || diff != "" {
		t.Errorf("layer %s by %q: found %v: %s", layer, recipe, ok, diff)
	}
}

// parse is a file as the Python tool reads it.
func parse(t testing.TB, path string) (out struct {
	Version  int
	Layers   map[string]map[string]any
	Outcomes []map[string]any
	Others   string
},
) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return out
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFileIsThatOfThePythonTool(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "dir", "cache.json")
	record(t, path, layercache.Config{}, "layer", "r", "result")
	got := parse(t, path)
	want := map[string]map[string]any{
		of("layer").String(): {
			"compressed_digest": of("result").String(), "compressed_size": 6.0, "media_type": ocispec.MediaTypeImageLayerGzip,
			"filters_hash": "none", "timestamp": "2026-02-03T12:00:00.000000+00:00", "recipe": "r",
		},
	}
	if diff := cmp.Diff(want, got.Layers); diff != "" || got.Version != 1 {
		t.Errorf("version %d, layers: %s", got.Version, diff)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(raw), "{\n  \"layers\": {\n    \"sha256:") {
		t.Errorf("it is not indented by two spaces:\n%.60s", raw)
	}
}

// The hashes are those of json.dumps and hashlib.
func TestFiltersHashIsThatOfThePythonTool(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]struct {
		compression pipeline.Compression
		filters     []string
	}{
		"none":             {pipeline.Gzip, nil},
		"49e3288122916ff7": {pipeline.Gzip, []string{"normalize-timestamps"}},
		"063b57bd57f6572a": {pipeline.Zstd, nil},
		"23742c83d7bdbbac": {pipeline.Gzip, []string{"exclude:pattern=**/é,\"a\\b\"\x7f\n\U0001F600"}},
	} {
		path := filepath.Join(t.TempDir(), "cache.json")
		cache := open(t, path, layercache.Config{Filters: c.filters})
		l := became("result")
		l.Compression = c.compression
		cache.Record(key("layer", "r"), l)
		save(t, cache)
		if got := parse(t, path).Layers[of("layer").String()]["filters_hash"]; got != want {
			t.Errorf("%s %q: %v, want %s", c.compression, c.filters, got, want)
		}
	}
}

// pythonFile is what versions of the Python tool have written.
func pythonFile(prefix string) string {
	return fmt.Sprintf(`{
  "version": 1,
  "layers": {
    "%s%s": {
      "compressed_digest": "%s",
      "compressed_size": 6,
      "media_type": "application/vnd.docker.image.rootfs.diff.tar.gzip",
      "filters_hash": "none",
      "timestamp": "2026-01-02T03:04:05.678901+00:00"
    }
  }
}`, prefix, of("layer").Encoded(), of("result"))
}

func TestEntriesOfThePythonToolCountWhereNoLayerChanges(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"sha256:", ""} {
		path := filepath.Join(t.TempDir(), "cache.json")
		write(t, path, pythonFile(prefix))
		k := key("layer", "canonical/1 gzip")
		k.SameTar = true
		got, ok := open(t, path, layercache.Config{}).Lookup(k)
		want := pipeline.CachedLayer{Blob: ocispec.Descriptor{Digest: of("result"), Size: 6}, Compression: pipeline.Gzip, DiffID: of("layer"), Claimed: true}
		if diff := cmp.Diff(want, got); diff != "" || !ok {
			t.Errorf("key %q: %v, %s", prefix, ok, diff)
		}
		if _, ok := open(t, path, layercache.Config{}).Lookup(key("layer", "canonical/1 gzip")); ok {
			t.Error("it counts where a filter changes layers")
		}
		if _, ok := open(t, path, layercache.Config{Filters: []string{"inspect:file=x"}}).Lookup(k); ok {
			t.Error("it counts for other filters")
		}
		k.Compression = pipeline.Zstd
		if _, ok := open(t, path, layercache.Config{}).Lookup(k); ok {
			t.Error("it counts for another compression")
		}
	}
}

// What this program tells the Python tool says less than it knows itself: not what
// it did. A layer that came compressed, and was left alone, would stand in for the
// same layer compressed here.
func TestWhatThePythonToolIsToldIsNotReadBack(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cache.json")
	record(t, path, layercache.Config{}, "layer", "as it came", "result")
	k := key("layer", "canonical/1 gzip")
	k.SameTar = true
	for range 2 {
		c := open(t, path, layercache.Config{})
		if got, ok := c.Lookup(k); ok {
			t.Errorf("it is taken for %+v", got)
		}
		c.Record(key("another", "r"), became("x")) // the file is written again
		save(t, c)
	}
}

func TestEntriesOfThePythonToolAreKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cache.json")
	write(t, path, strings.Replace(pythonFile(""), `"version": 1,`, `"version": 1, "others": "stay", `, 1))
	record(t, path, layercache.Config{}, "another", "r", "x")
	got := parse(t, path)
	if len(got.Layers) != 2 || got.Others != "stay" {
		t.Errorf("the file became %+v", got)
	}
	stamp := got.Layers[of("layer").String()]["timestamp"]
	if stamp != "2026-01-02T03:04:05.678901+00:00" {
		t.Errorf("the timestamp became %v", stamp)
	}
}

func TestUnknownMembersOfEntriesAreKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cache.json")
	record(t, path, layercache.Config{}, "layer", "r", "result")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, strings.NewReplacer(`"place":`, `"signed_by": ["ann"], "place":`, `"filters_hash":`, `"note": 7, "filters_hash":`).Replace(string(raw)))
	c := open(t, path, layercache.Config{Now: at(noon.Add(2 * time.Hour))})
	knows(t, c, "layer", "r", "result") // which notes the use
	save(t, c)
	got := parse(t, path)
	if diff := cmp.Diff([]any{"ann"}, got.Outcomes[0]["signed_by"]); diff != "" || got.Layers[of("layer").String()]["note"] != 7.0 {
		t.Errorf("%s of %+v", diff, got)
	}
	if got.Outcomes[0]["used"] != "2026-02-03T14:00:00.000000+00:00" {
		t.Errorf("used %v", got.Outcomes[0]["used"])
	}
}

func TestRecipesOfOneLayerStandBesideEachOther(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cache.json")
	record(t, path, layercache.Config{}, "layer", "one", "first")
	record(t, path, layercache.Config{Now: at(noon.Add(time.Minute))}, "layer", "two", "second")
	c := open(t, path, layercache.Config{})
	knows(t, c, "layer", "one", "first")
	knows(t, c, "layer", "two", "second")
	if got := parse(t, path).Layers[of("layer").String()]["compressed_digest"]; got != of("second").String() {
		t.Errorf("the Python tool is told %v", got)
	}
}

// What was made of the stored bytes of a layer is told the Python tool by the
// layer's diff ID.
func TestThePythonToolIsToldDiffIDs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cache.json")
	c := open(t, path, layercache.Config{})
	c.Record(key("blob", ""), pipeline.CachedLayer{Blob: ocispec.Descriptor{Digest: of("blob"), Size: 4}, Compression: pipeline.Gzip, DiffID: of("plain")})
	c.Record(key("blob", "r"), became("result"))
	save(t, c)
	if got := parse(t, path).Layers; len(got) != 1 || got[of("plain").String()] == nil {
		t.Errorf("layers are %v", got)
	}
}

func TestNothingRecordedIsNothingWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "dir", "cache.json")
	save(t, open(t, path, layercache.Config{}))
	if _, err := os.Stat(filepath.Dir(path)); err == nil {
		t.Error("a directory was made for nothing")
	}
	record(t, path, layercache.Config{}, "layer", "r", "result")
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	record(t, path, layercache.Config{Now: at(noon.Add(time.Minute))}, "layer", "r", "result")
	after, err := os.Stat(path)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the same outcome was written again (%v)", err)
	}
}

func TestLeastRecentlyUsedIsForgottenFirst(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cache.json")
	const size = 20 << 10
	now := noon
	cfg := layercache.Config{Size: size, Now: func() time.Time { return now }}
	for i := range 60 {
		now = now.Add(2 * time.Hour)
		c := open(t, path, cfg)
		if i > 0 {
			knows(t, c, "0", "r", "result 0") // it is used all the time
		}
		c.Record(key(fmt.Sprint(i), "r"), became(fmt.Sprintf("result %d", i)))
		save(t, c)
		if info, err := os.Stat(path); err != nil || info.Size() > size {
			t.Fatalf("after %d layers the file has %d bytes (%v)", i+1, info.Size(), err)
		}
	}
	c := open(t, path, cfg)
	knows(t, c, "0", "r", "result 0")
	knows(t, c, "59", "r", "result 59")
	if _, ok := c.Lookup(key("1", "r")); ok {
		t.Error("the oldest one is still there")
	}
	if n := len(parse(t, path).Outcomes); n < 20 {
		t.Errorf("only %d are left", n)
	}
}

// Programs with caches of their own in one directory have locks of their own: what
// one has in hand is not another's to clear up, and nor is a user's file.
func TestOnlyWhatThisCacheLeftIsRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	dead := ".cache." + rand.Text() + ".tmp"
	others := []string{".cache.json." + rand.Text() + ".tmp", ".cache.mine.tmp", ".cache.tmp", ".cache..tmp"}
	for _, n := range append([]string{dead}, others...) {
		write(t, filepath.Join(dir, n), "x")
	}
	record(t, filepath.Join(dir, "cache"), layercache.Config{}, "layer", "r", "result")
	for _, n := range others {
		if _, err := os.Stat(filepath.Join(dir, n)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, dead)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there: %v", dead, err)
	}
}

// What is equally old is forgotten in one order, whatever Go's maps do.
func TestEqualRunsForgetTheSame(t *testing.T) {
	t.Parallel()
	var files []string
	for range 5 {
		path := filepath.Join(t.TempDir(), "cache.json")
		c := open(t, path, layercache.Config{Size: 8 << 10})
		for i := range 60 {
			c.Record(key(fmt.Sprint("layer ", i), "r"), became(fmt.Sprint("result ", i)))
		}
		save(t, c)
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, string(raw))
	}
	if files = slices.Compact(files); len(files) != 1 {
		t.Error("equal runs left different files")
	}
}
