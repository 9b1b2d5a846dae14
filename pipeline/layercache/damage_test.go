package layercache_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline/layercache"
)

// damaged opens a file that must be told of as damaged.
func damaged(t testing.TB, path string) *layercache.Cache {
	t.Helper()
	var warnings []string
	c := open(t, path, layercache.Config{Warn: func(s string) { warnings = append(warnings, s) }})
	if len(warnings) != 1 || !strings.Contains(warnings[0], path+".damaged-") {
		t.Errorf("the warnings are %q", warnings)
	}
	return c
}

func TestDamagedFileIsSetAsideAndRebuilt(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty":             "",
		"cut":               pythonFile("")[:200],
		"no JSON":           "layers",
		"null":              "null",
		"an array":          "[]",
		"more after it":     `{"version": 1, "layers": {}} {}`,
		"unknown version":   `{"version": 2, "layers": {}}`,
		"no version":        `{"layers": {}}`,
		"version as text":   `{"version": "1", "layers": {}}`,
		"no layers":         `{"version": 1}`,
		"layers as array":   `{"version": 1, "layers": []}`,
		"outcomes as text":  `{"version": 1, "layers": {}, "outcomes": "x"}`,
		"deep":              `{"version": 1, "layers": ` + strings.Repeat("[", 1<<20) + strings.Repeat("]", 1<<20) + `}`,
		"entry of no type":  `{"version": 1, "layers": {"` + of("x").String() + `": 7}}`,
		"key is no digest":  pythonFile("sha256:zz"),
		"key leads out":     strings.Replace(pythonFile(""), of("layer").Encoded(), "../../etc/passwd", 1),
		"digest is none":    strings.Replace(pythonFile(""), of("result").String(), "sha256:12", 1),
		"size is text":      strings.Replace(pythonFile(""), `_size": 6`, `_size": "6"`, 1),
		"size is negative":  strings.Replace(pythonFile(""), `_size": 6`, `_size": -6`, 1),
		"size is too large": strings.Replace(pythonFile(""), `_size": 6`, `_size": 1e400`, 1),
		"large":             `{"version": 1, "layers": {}, "x": "` + strings.Repeat("x", 17<<20) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "cache.json")
			write(t, path, text)
			c := damaged(t, path)
			if len(c.Entries()) > 0 {
				t.Errorf("it has %+v", c.Entries())
			}
			aside, err := os.ReadFile(path + ".damaged-1")
			if err != nil || string(aside) != text {
				t.Errorf("set aside are %d bytes of %d (%v)", len(aside), len(text), err)
			}
			record(t, path, layercache.Config{}, "layer", "r", "result") // without a warning
			knows(t, open(t, path, layercache.Config{}), "layer", "r", "result")
		})
	}
}

func TestWhatCanBeReadOfADamagedFileCounts(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cache.json")
	record(t, path, layercache.Config{}, "layer", "one", "first")
	record(t, path, layercache.Config{}, "layer", "two", "second")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, strings.Replace(string(raw), of("plain second").String(), "sha256:no", 1))
	c := damaged(t, path)
	knows(t, c, "layer", "one", "first")
	if _, ok := c.Lookup(key("layer", "two")); ok {
		t.Error("the damaged entry counts")
	}
	knows(t, open(t, path, layercache.Config{}), "layer", "one", "first")
}

func TestOutcomesThatMakeNoSenseAreDamage(t *testing.T) {
	t.Parallel()
	good := map[string]any{
		"layer": of("l"), "recipe": "r", "digest": of("d"), "size": 1, "media_type": "application/vnd.oci.image.layer.v1.tar+gzip",
		"diff_id": of("i"), "place": "p", "recorded": "2026-02-03T12:00:00+00:00", "used": "2026-02-03T12:00:00+00:00",
	}
	for member, bad := range map[string]any{
		"layer": "sha256:", "recipe": strings.Repeat("x", 5000), "digest": 7, "size": 0, "media_type": "text/html",
		"diff_id": "md5:00", "place": []int{}, "recorded": 1, "used": nil,
	} {
		entry := map[string]any{}
		for k, v := range good {
			entry[k] = v
		}
		entry[member] = bad
		if bad == nil {
			delete(entry, member)
		}
		text, err := json.Marshal(map[string]any{"version": 1, "layers": map[string]any{}, "outcomes": []any{entry, good}})
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "cache.json")
		write(t, path, string(text))
		if c := damaged(t, path); len(c.Entries()) != 1 {
			t.Errorf("%s %v: %d entries", member, bad, len(c.Entries()))
		}
	}
}

func TestWhatWasSetAsideIsNeverOverwritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cache.json")
	for i := range 3 {
		write(t, path, fmt.Sprint("damage ", i))
		damaged(t, path)
	}
	for i := range 3 {
		got, err := os.ReadFile(fmt.Sprintf("%s.damaged-%d", path, i+1))
		if err != nil || string(got) != fmt.Sprint("damage ", i) {
			t.Errorf("%d is %q (%v)", i+1, got, err)
		}
	}
}

func TestInspectLeavesADamagedFileAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cache.json")
	write(t, path, "no JSON")
	_, damage, err := layercache.Inspect(path, layercache.Config{})
	if len(damage) != 1 || err != nil {
		t.Errorf("damage %v, error %v", damage, err)
	}
	if all, _ := filepath.Glob(path + "*"); len(all) != 1 {
		t.Errorf("there are %v", all)
	}
}
