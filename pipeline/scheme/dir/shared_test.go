package dir_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline"
)

func TestConcurrentWritersLoseNothing(t *testing.T) {
	t.Parallel()
	for _, query := range []string{"", "?unique_names=true", "?format=oci"} {
		t.Run("layout"+query, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "images")
			const writers = 12
			base := layer(t, "base", strings.Repeat("shared ", 10000))
			var g errgroup.Group
			for i := range writers {
				own := layer(t, "own", fmt.Sprint(i))
				g.Go(func() error { return tryWrite(t, path+query, fmt.Sprintf("app:%d", i), base, own) })
			}
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
			if got := read(t, path); len(got) != writers {
				t.Errorf("of %d images there are %v", writers, names(got))
			}
			if left, _ := filepath.Glob(path + "/.occystrap-*"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestFailedRunLeavesTheDirectoryAsItWas(t *testing.T) {
	t.Parallel()
	for _, query := range []string{"", "?format=oci"} {
		t.Run("layout"+query, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "images")
			src := imageOf(t, "app:2", layer(t, "f", "2"), layer(t, "g", "2"))
			corrupt := func() {
				report, err := pipeline.Run(t.Context(), src, nil, sink(t, filepath.Join(t.TempDir(), "x")+query), pipeline.Options{})
				if err != nil {
					t.Fatal(err)
				}
				src.Store.Corrupt(report.Layers[1].Source.Digest, []byte("damaged"))
			}
			corrupt()
			if _, err := pipeline.Run(t.Context(), src, nil, sink(t, path+query), pipeline.Options{}); err == nil {
				t.Fatal("a damaged layer was taken")
			}
			if exists(path) {
				t.Error("a failed run made the directory")
			}
			write(t, path+query, "app:1", layer(t, "f", "1"))
			before := snapshot(t, path)
			if _, err := pipeline.Run(t.Context(), src, nil, sink(t, path+query), pipeline.Options{}); err == nil {
				t.Fatal("a damaged layer was taken")
			}
			if after := snapshot(t, path); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

// snapshot is all that can be seen of a tree, as text.
func snapshot(t testing.TB, path string) string {
	t.Helper()
	var b bytes.Buffer
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if d.IsDir() {
			fmt.Fprintln(&b, p, info.Mode())
			return nil
		}
		raw, _ := os.ReadFile(p)
		fmt.Fprintln(&b, p, info.Mode(), info.ModTime(), info.Size(), hexOf(string(raw)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The writer of TestKilledWriterLeavesAllImagesReadable is this test binary.
func TestMain(m *testing.M) {
	if path := os.Getenv("OCCYSTRAP_TEST_WRITE"); path != "" {
		for i := 0; ; i++ {
			t := &testing.T{}
			if err := tryWriteLoop(t, path, i); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
	os.Exit(m.Run())
}

func tryWriteLoop(t *testing.T, path string, i int) error {
	src := imageOf(t, fmt.Sprintf("app:%d", i%7), layer(t, "base", "shared"), layer(t, "own", strings.Repeat(fmt.Sprint(i), 1<<16)))
	_, err := pipeline.Run(contextOf(), src, nil, sink(t, path), pipeline.Options{})
	return err
}

func TestKilledWriterLeavesAllImagesReadable(t *testing.T) {
	t.Parallel()
	for _, query := range []string{"", "?unique_names=true", "?format=oci"} {
		t.Run("layout"+query, func(t *testing.T) {
			t.Parallel()
			path := t.TempDir()
			write(t, path+query, "keep:1", layer(t, "keep", "1"))
			for i := range 12 {
				cmd := exec.CommandContext(t.Context(), os.Args[0])
				cmd.Env = append(os.Environ(), "OCCYSTRAP_TEST_WRITE="+path+query)
				cmd.Stderr = os.Stderr
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Duration(40+i*17) * time.Millisecond) //nolint:forbidigo // killed wherever it then is
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				var exit *exec.ExitError
				if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
					t.Fatal(err)
				}
				if got := read(t, path); got["docker.io/library/keep:1"] == nil {
					t.Fatalf("there are %v", names(got))
				}
			}
			write(t, path+query, "last:1", layer(t, "last", "1"))
			if left, _ := filepath.Glob(path + "/.occystrap-*"); len(left) > 0 {
				t.Errorf("what killed runs left is still there: %v", left)
			}
		})
	}
}

func TestHostileDirectoriesAreRefused(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	writeFile(t, outside+"/secret", "secret")
	for name, make := range map[string]func(path string){
		"config outside": func(p string) {
			writeFile(t, p+"/manifest.json", `[{"Config":"../`+filepath.Base(outside)+`/secret","Layers":[],"RepoTags":[]}]`)
		},
		"absolute layer": func(p string) {
			writeFile(t, p+"/manifest.json", `[{"Config":"c","Layers":["`+outside+`/secret"],"RepoTags":[]}]`)
		},
		"link outside": func(p string) {
			_ = os.Symlink(outside+"/secret", p+"/c")
			writeFile(t, p+"/manifest.json", `[{"Config":"c","Layers":[],"RepoTags":[]}]`)
		},
		"index through a link": func(p string) { _ = os.Symlink(outside+"/secret", p+"/index.json") },
		"pipe for a config": func(p string) {
			_ = syscall.Mkfifo(p+"/c", 0o600)
			writeFile(t, p+"/manifest.json", `[{"Config":"c","Layers":[],"RepoTags":[]}]`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(filepath.Dir(outside), "hostile-"+strings.ReplaceAll(name, " ", "-"))
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
			make(path)
			if _, err := tryRead(t, path, nil); err == nil {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A layer's file that is a link out of the directory is not written through.
func TestLinksInTheDirectoryAreNotWrittenThrough(t *testing.T) {
	t.Parallel()
	path, outside := t.TempDir(), t.TempDir()
	writeFile(t, outside+"/catalog.json", "{}")
	for _, n := range []string{"catalog.json", "manifest.json"} {
		if err := os.Symlink(outside+"/catalog.json", filepath.Join(path, n)); err != nil {
			t.Fatal(err)
		}
	}
	_ = tryWrite(t, path, "app:1", layer(t, "f", "1"))
	if raw, err := os.ReadFile(outside + "/catalog.json"); err != nil || string(raw) != "{}" {
		t.Errorf("it was written through: %s, %v", raw, err)
	}
}
