package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// smallChecker is a checker of the small image, and the image as a tar.
func smallChecker(t *testing.T) (c *checker, l layout, archive string) {
	t.Helper()
	dir := t.TempDir()
	l, err := writeSmall(filepath.Join(dir, "image"))
	if err != nil {
		t.Fatal(err)
	}
	i, err := readImage(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	archive = filepath.Join(dir, "image.tar")
	if out, err := exec.CommandContext(t.Context(), "tar", "-cf", archive, "-C", l.dir, ".").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	return newChecker(i, l), l, archive
}

func TestCheckAcceptsTheImageItself(t *testing.T) {
	t.Parallel()
	c, l, archive := smallChecker(t)
	for _, path := range []string{archive, l.dir} {
		if err := c.unchangedArchive(path, sameManifest)(t.Context()); err != nil {
			t.Error(err)
		}
		if err := c.changedArchive(path, change{})(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestCheckRefusesABlobWithOneBitWrong(t *testing.T) {
	t.Parallel()
	c, l, _ := smallChecker(t)
	name := l.path(c.image.Layers[1].Digest)
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	if err := os.WriteFile(name, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.unchangedArchive(l.dir, sameBlobs)(t.Context()); err == nil {
		t.Error("a wrong blob is accepted as unchanged")
	}
	if err := c.changedArchive(l.dir, change{content: true})(t.Context()); err == nil {
		t.Error("a wrong blob is accepted as changed")
	}
}

func TestCheckRefusesTimesThatWereNotSet(t *testing.T) {
	t.Parallel()
	c, _, archive := smallChecker(t)
	err := c.changedArchive(archive, change{times: epoch})(t.Context())
	if err == nil || !strings.Contains(err.Error(), "has the time") {
		t.Errorf("got %v", err)
	}
}

func TestInflateReadsEveryLayer(t *testing.T) {
	t.Parallel()
	_, l, _ := smallChecker(t)
	got, err := inflate(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	if least := int64(smallLayers * smallFiles * smallFileSize); got < least {
		t.Errorf("inflated %d bytes, want at least %d", got, least)
	}
}

func TestProcessIsMeasuredWithItsChildren(t *testing.T) {
	t.Parallel()
	got, err := command{args: []string{"sh", "-c", "sh -c true; true"}}.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Wall <= 0 || got.MaxRSS <= 0 {
		t.Errorf("measured %+v", got)
	}
}

func TestAnErrorHoldsTheEndOfTheOutput(t *testing.T) {
	t.Parallel()
	_, err := command{args: []string{"sh", "-c", "echo the reason >&2; exit 3"}}.run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the reason") {
		t.Errorf("got %v", err)
	}
}

func TestARunThatIsCutShortLeavesNoProcess(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	mark := filepath.Join(t.TempDir(), "started")
	done := make(chan error, 1)
	go func() {
		_, err := command{args: []string{"sh", "-c", "sleep 600 & echo $! > " + mark + ".new; mv " + mark + ".new " + mark + "; wait"}}.run(ctx)
		done <- err
	}()
	var pid string
	for pid == "" {
		raw, err := os.ReadFile(mark)
		if err == nil {
			pid = strings.TrimSpace(string(raw))
			break
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // another process writes the file
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("a run that was cut short is no error")
	}
	// What was signalled needs a moment to be gone.
	for range 5000 {
		if stat := content("/proc/" + pid + "/stat"); stat == "" || strings.Contains(stat, ") Z ") {
			return
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // another process ends
	}
	t.Error("the child is still there")
}
