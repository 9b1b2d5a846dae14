package layercache_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline/layercache"
)

// writerVariable makes this test binary a program that records into the file that
// it names.
const writerVariable = "OCCYSTRAP_TEST_CACHE_WRITER"

const perWriter = 5

func TestMain(m *testing.M) {
	path := os.Getenv(writerVariable)
	if path == "" {
		os.Exit(m.Run())
	}
	if err := recordMany(path, os.Args[len(os.Args)-1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// recordMany is what one of many programs does.
func recordMany(path, name string) error {
	for i := range perWriter {
		c, err := layercache.Open(context.Background(), path, layercache.Config{Warn: func(s string) { panic(s) }})
		if err != nil {
			return err
		}
		own := fmt.Sprintf("%s-%d", name, i)
		c.Record(key(own, "r"), became(own))
		c.Record(key("shared", name), became(own))
		if err := c.Save(context.Background()); err != nil {
			return err
		}
	}
	return nil
}

func TestManyProgramsLoseNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cache.json")
	const writers = 10
	var g errgroup.Group
	for w := range writers {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$", fmt.Sprint("w", w))
		cmd.Env = append(os.Environ(), writerVariable+"="+path)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		g.Go(func() error {
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("%w: %s", err, stderr.String())
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	c := open(t, path, layercache.Config{})
	for w := range writers {
		for i := range perWriter {
			own := fmt.Sprintf("w%d-%d", w, i)
			knows(t, c, own, "r", own)
		}
		knows(t, c, "shared", fmt.Sprint("w", w), fmt.Sprintf("w%d-%d", w, perWriter-1))
	}
}

// A program that is killed after it wrote and before it renamed leaves the file
// as it was, and no lock; what it left is removed by the next one.
func TestKilledProgramLeavesTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "cache.json")
	record(t, path, layercache.Config{}, "layer", "r", "result")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, ".cache.json.ABCDEFGHIJKLMNOPQRSTUVWXYZ.tmp"), string(raw[:len(raw)/2]))
	write(t, filepath.Join(dir, ".cache.json.unrelated"), "stays")
	c := open(t, path, layercache.Config{})
	knows(t, c, "layer", "r", "result")
	c.Record(key("other", "r"), became("other"))
	save(t, c)
	for name, want := range map[string]bool{".cache.json.ABCDEFGHIJKLMNOPQRSTUVWXYZ.tmp": false, ".cache.json.unrelated": true} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	knows(t, open(t, path, layercache.Config{}), "other", "r", "other")
}

// Of two outcomes the newer counts, though the older one was used meanwhile.
func TestUseDoesNotBringBackAnOlderOutcome(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cache.json")
	record(t, path, layercache.Config{}, "layer", "r", "old")
	slow := open(t, path, layercache.Config{Now: at(noon.Add(2 * time.Minute))})
	knows(t, slow, "layer", "r", "old")
	record(t, path, layercache.Config{Now: at(noon.Add(time.Minute))}, "layer", "r", "new")
	slow.Record(key("other", "r"), became("other"))
	save(t, slow)
	knows(t, open(t, path, layercache.Config{}), "layer", "r", "new")
}

func TestPruneForgetsWhatItIsTold(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cache.json")
	write(t, path, pythonFile(""))
	record(t, path, layercache.Config{}, "a", "r", "of a")
	record(t, path, layercache.Config{}, "b", "r", "of b")
	c := open(t, path, layercache.Config{})
	were, are, err := c.Prune(t.Context(), func(e layercache.Entry) bool { return e.FiltersHash == "none" && e.DiffID == "" || e.Layer == of("a") }, 0)
	if were != 3 || are != 1 || err != nil {
		t.Errorf("%d became %d: %v", were, are, err)
	}
	knows(t, open(t, path, layercache.Config{}), "b", "r", "of b")
	if got := parse(t, path); len(got.Layers) != 1 || len(got.Outcomes) != 1 {
		t.Errorf("left are %+v", got)
	}
}
