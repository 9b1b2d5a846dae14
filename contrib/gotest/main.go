// Command gotest runs "go test" and tells in few lines what failed, at once and
// once more at the end of everything:
//
//	go run ./contrib/gotest -name race -failures bin/failures -- -race ./...
//
//	go test -json ─▶ a line for each package ─▶ standard output
//	                 what failed, and why    ─▶ standard output, and -failures
//
// "make test" has several phases of many minutes; where only the end of its
// output is kept, that end is what went wrong. A failed test is shown with the
// last lines that it printed, a panic or a data race with the first ones.
//
// With -again N, up to N tests that failed run once more, alone: those against real
// daemons depend on more than us. One that then passes is told as unsteady, at the end
// like a failure, since it is one to mend.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case errors.Is(err, errFailed):
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, "gotest:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("gotest", flag.ContinueOnError)
	name := flags.String("name", "tests", "what to call this run")
	failures := flags.String("failures", "", "file that what failed is added to")
	log := flags.String("log", "", "file for everything that go test -json says")
	most := flags.Int("again", 0, "how many tests that failed may run once more")
	if err := flags.Parse(args); err != nil {
		return err
	}
	all, err := create(*log, os.O_TRUNC)
	if err != nil {
		return err
	}
	defer all.Close()
	t := newTeller(*name, out)
	ended := goTest(ctx, t, flags.Args(), all)
	if errors.Is(ended, errFailed) && *most > 0 && ctx.Err() == nil {
		ended = t.again(ctx, flags.Args(), all, *most)
	}
	return errors.Join(t.conclude(*failures), ended)
}

// errFailed is what was told already.
var errFailed = errors.New("tests failed")

// goTest runs "go test" and has t tell of it. Everything that it says goes to log.
func goTest(ctx context.Context, t *teller, args []string, log io.Writer) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...) //nolint:gosec // the caller's own arguments
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }                // so that go test ends its tests
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start go test: %w", err)
	}
	told := t.listen(io.TeeReader(events, log))
	ended := cmd.Wait()
	if ended != nil && len(t.failures) == 0 {
		t.failures = append(t.failures, failure{what: "go test", lines: []string{ended.Error() + "; the reason is above"}})
	}
	if failed := new(exec.ExitError); errors.As(ended, &failed) {
		ended = errFailed
	}
	return errors.Join(told, ended)
}

// create opens a file to write to; without a name, one that keeps nothing.
func create(name string, how int) (*os.File, error) {
	if name == "" {
		return os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { //nolint:gosec // results are for everybody
		return nil, err
	}
	return os.OpenFile(name, os.O_CREATE|os.O_WRONLY|how, 0o644) //nolint:gosec // results are for everybody
}
