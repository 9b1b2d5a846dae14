package pipelinetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// CopyProgram copies a program to where every user may run it, by another process:
// what this one had open to write, a process that a parallel test starts at that
// moment has open too, and then nobody can run it ("text file busy").
func CopyProgram(t testing.TB, from, to string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "cp", from, to).CombinedOutput(); err != nil { //nolint:gosec // a test's own files
		t.Fatalf("cp %s %s: %v: %s", from, to, err, out)
	}
	if err := os.Chmod(to, 0o755); err != nil { //nolint:gosec // other users run it
		t.Fatal(err)
	}
}

// AsNobody runs those tests of this test binary whose names match again as the
// user nobody, if the test runs as root, and says whether it did. Otherwise the
// user is an ordinary one already.
func AsNobody(t testing.TB, match string) bool {
	t.Helper()
	const nobody = 65534
	if os.Geteuid() != 0 {
		return false
	}
	home, err := os.MkdirTemp("", "occystrap-nobody") //nolint:usetesting // nobody must get there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	exe := filepath.Join(home, "test")
	CopyProgram(t, os.Args[0], exe)
	if err := os.Chown(home, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run="+match) //nolint:gosec // this test
	cmd.Dir, cmd.Env = home, []string{"TMPDIR=" + home, "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
	return true
}
