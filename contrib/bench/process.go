package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// stopGrace is how long a process has to end by itself before it is killed.
const stopGrace = 5 * time.Second

// errorTail is how much of a failed program's output goes into the error.
const errorTail = 2000

// A command is a program as a contender calls it.
type command struct {
	args  []string
	dir   string
	env   []string  // added to that of this process
	stdin string    // what it reads
	out   io.Writer // its standard output; nil keeps the end for errors
	null  bool      // its standard output is /dev/null
	// credential is who runs it; nil: who runs this.
	credential *syscall.Credential
}

// usage is what one run of a program took, its children included.
type usage struct {
	Wall   time.Duration
	User   time.Duration
	System time.Duration
	MaxRSS int64 // bytes
}

// run starts the program, waits for its end and says what it took. The program
// is a process group of its own: a Ctrl-C reaches it through ctx only, and its
// children with it.
func (c command) run(ctx context.Context) (usage, error) {
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...) //nolint:gosec // programs are what is measured
	tail := &tailWriter{}
	cmd.Dir, cmd.Env = c.dir, append(os.Environ(), c.env...)
	cmd.Stdout, cmd.Stderr = tail, tail
	if c.stdin != "" {
		cmd.Stdin = strings.NewReader(c.stdin)
	}
	if c.out != nil {
		cmd.Stdout = c.out
	}
	if c.null {
		cmd.Stdout = nil
	}
	ownGroup(cmd)
	cmd.SysProcAttr.Credential = c.credential
	start := time.Now()
	err := cmd.Run()
	took := usage{Wall: time.Since(start)}
	if ctx.Err() != nil {
		return took, ctx.Err()
	}
	if err != nil {
		return took, fmt.Errorf("run %s: %w\n%s", strings.Join(c.args, " "), err, tail)
	}
	took.User, took.System = cmd.ProcessState.UserTime(), cmd.ProcessState.SystemTime()
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		const unit = 1024 // Linux counts maxrss in KiB
		took.MaxRSS = r.Maxrss * unit
	}
	return took, nil
}

// ownGroup gives the process a group of its own, which ends as a whole.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = stopGrace
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
}

// output runs a program outside any timing and returns what it printed.
func output(ctx context.Context, args ...string) (string, error) {
	var out strings.Builder
	_, err := command{args: args, out: &out}.run(ctx)
	return strings.TrimSpace(out.String()), err
}

// tailWriter keeps the end of what is written to it.
type tailWriter struct{ kept []byte }

// Write never fails.
func (t *tailWriter) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if len(t.kept) > errorTail {
		t.kept = t.kept[len(t.kept)-errorTail:]
	}
	return len(p), nil
}

// String is what was kept.
func (t *tailWriter) String() string { return strings.TrimSpace(string(t.kept)) }
