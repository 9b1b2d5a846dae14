//go:build unix

package layercache_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/layercache"
)

func TestFileThatOthersMayWriteIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(dir, path string) error
		want  string
	}{
		"group":       {func(_, p string) error { return os.Chmod(p, 0o620) }, "mode 0620"},
		"world":       {func(_, p string) error { return os.Chmod(p, 0o602) }, "chmod go-w"},
		"directory":   {func(d, _ string) error { return os.Chmod(d, 0o777) }, "directory that others may write"},
		"link":        {func(d, p string) error { return errors.Join(os.Rename(p, d+"/real"), os.Symlink("real", p)) }, "symbolic link"},
		"broken link": {func(d, p string) error { return errors.Join(os.Remove(p), os.Symlink(d+"/nowhere", p)) }, "symbolic link"},
		"pipe":        {func(_, p string) error { return errors.Join(os.Remove(p), syscall.Mkfifo(p, 0o600)) }, "no regular file"},
		"is a folder": {func(_, p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) }, "no regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "cache.json")
			record(t, path, layercache.Config{}, "layer", "r", "result")
			late := open(t, path, layercache.Config{})
			if err := c.spoil(dir, path); err != nil {
				t.Fatal(err)
			}
			_, err := layercache.Open(t.Context(), path, layercache.Config{})
			var mistake *pipeline.UsageError
			if !errors.As(err, &mistake) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v", err)
			}
			// The same holds for a file that was good when the run began.
			late.Record(key("other", "r"), became("other"))
			if err := late.Save(t.Context()); !errors.As(err, &mistake) {
				t.Errorf("saving: %v", err)
			}
			if _, err := os.Lstat(filepath.Join(dir, "nowhere")); err == nil {
				t.Error("the link was followed")
			}
		})
	}
}

func TestFileOfAnotherUserIsRefused(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	path := filepath.Join(t.TempDir(), "cache.json")
	record(t, path, layercache.Config{}, "layer", "r", "result")
	if err := os.Chown(path, 1234, 1234); err != nil {
		t.Fatal(err)
	}
	if _, err := layercache.Open(t.Context(), path, layercache.Config{}); err == nil || !strings.Contains(err.Error(), "another user") {
		t.Errorf("the error is %v", err)
	}
}

// In a directory as /tmp nobody can replace the files of others.
func TestStickyDirectoryIsGoodEnough(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "tmp")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "cache.json")
	record(t, path, layercache.Config{}, "layer", "r", "result")
	knows(t, open(t, path, layercache.Config{}), "layer", "r", "result")
}

func TestFileIsForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cache.json")
	record(t, path, layercache.Config{}, "layer", "r", "result")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for _, want := range []os.FileMode{0o600, 0o640} { // and to whom the owner gives it
		if err := os.Chmod(path, want); err != nil {
			t.Fatal(err)
		}
		record(t, path, layercache.Config{}, "layer", want.String(), "result")
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	}
}
