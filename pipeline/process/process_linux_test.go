package process

import (
	"os/exec"
	"regexp"
	"testing"
)

// sleeper starts a process that lives until it is killed.
func sleeper(t *testing.T) (*exec.Cmd, identity) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sleep", "3600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // the context ends first, and kills it
	other := self()
	other.pid = cmd.Process.Pid
	now, err := system{proc}.look(other.pid)
	if err != nil {
		t.Fatal(err)
	}
	other.started = now.started
	return cmd, other
}

// Only of a process of this machine, and of this start of it, is it known that
// it has ended.
func TestOnlyTheDeadHaveEnded(t *testing.T) {
	t.Parallel()
	_, living := sleeper(t)
	before, away := living, living
	before.started = "1"
	away.machine, away.started = "another.1.1", "1"
	for name, want := range map[string]bool{
		Name():          false,
		living.String(): false,
		before.String(): true,
		away.String():   false,
		"unknown.1.0":   false,
		"nonsense":      false,
		"a.b.c":         false,
		"a.-1.3":        false,
		"":              false,
	} {
		if got := Ended(name); got != want {
			t.Errorf("%q has ended: %v", name, got)
		}
	}
}

func TestAProcessThatWasKilledHasEnded(t *testing.T) {
	t.Parallel()
	cmd, killed := sleeper(t)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if !Ended(killed.String()) {
		t.Errorf("%s was killed and has not ended", killed)
	}
}

// A /proc mounted with hidepid=2 has nothing of other users' processes.
func TestWhatProcHidesLives(t *testing.T) {
	t.Parallel()
	_, other := sleeper(t)
	other.started = "1"
	if (system{proc: t.TempDir()}).ended(other) {
		t.Error("a process that is hidden is taken for dead")
	}
	if (system{proc: t.TempDir()}).self().machine != "" {
		t.Error("without /proc, processes are told apart")
	}
}

// A name stands in tags, file names and labels.
func TestANameIsATagAndAFileName(t *testing.T) {
	t.Parallel()
	const longest = 90
	if n := Name(); !regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9_.-]*$`).MatchString(n) || len(n) > longest {
		t.Errorf("%q is no tag, or longer than %d", n, longest)
	}
	if again, err := parse(Name()); err != nil || again != self() {
		t.Errorf("%s is read as %+v: %v", Name(), again, err)
	}
}
