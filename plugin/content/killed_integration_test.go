//go:build integration && linux

package content

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// fillHere makes the test below, as a process of its own, begin a snapshot there.
const fillHere = "OCCYSTRAP_TEST_FILL_AT"

// A snapshot that a killed run was filling goes with its lease, when the next run
// begins.
func TestKilledRunLeavesNoSnapshot(t *testing.T) {
	t.Parallel()
	if at := os.Getenv(fillHere); at != "" {
		beginAndWait(t, at)
		return
	}
	at := pipelinetest.Env(t, "OCCYSTRAP_TEST_CONTAINERD")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledRunLeavesNoSnapshot$")
	cmd.Env = append(os.Environ(), fillHere+"="+at)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var key string
	for lines := bufio.NewScanner(out); key == "" && lines.Scan(); {
		_, key, _ = strings.Cut(lines.Text(), "filling ")
	}
	if err := cmd.Process.Kill(); err != nil || key == "" {
		t.Fatalf("it fills %q; %v", key, err)
	}
	_ = cmd.Wait() // it was killed
	s := &sink{at: place{socket: at, namespace: "occystrap-test"}, unpack: true, namer: plainNames{}}
	if err := s.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(2 * time.Minute); ; <-tick.C {
		_, err := s.filler.at.Stat(s.store.in(t.Context()), key)
		if errdefs.IsNotFound(err) {
			break
		}
		if err != nil || time.Now().After(end) {
			t.Fatalf("snapshot %q is left: %v", key, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// beginAndWait begins a snapshot and waits to be killed.
func beginAndWait(t *testing.T, at string) {
	t.Helper()
	s := &sink{at: place{socket: at, namespace: "occystrap-test"}, unpack: true, namer: plainNames{}}
	if err := s.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	f, err := s.filler.prepare(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stdout.WriteString("filling " + f.key + "\n"); err != nil {
		t.Fatal(err)
	}
	<-t.Context().Done()
}
