package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// An event is a line of "go test -json" (go doc test2json).
type event struct {
	Action, Package, ImportPath, Test, Output, FailedBuild string
	Elapsed                                                float64 // seconds
}

// A place is a test, or with test "" a package.
type place struct{ pkg, test string }

// A failure is what is told of a test or a package that failed.
type failure struct {
	what  string
	lines []string
	at    place // the test, if it failed by what it saw; else no test
}

// A teller follows the events of a run.
type teller struct {
	name     string
	out      io.Writer
	printed  map[place][]string  // of what still runs
	built    map[string][]string // what the compiler said, by import path
	blamed   map[place]bool      // a part of it failed and was told
	failures []failure
	unsteady []failure // of tests that passed when they ran once more
	skipped  int
}

func newTeller(name string, out io.Writer) *teller {
	return &teller{name: name, out: out, printed: map[place][]string{}, built: map[string][]string{}, blamed: map[place]bool{}}
}

// mostLines is how much of what one test prints is kept.
const mostLines = 20000

// listen reads events to their end. What is no event is passed on.
func (t *teller) listen(events io.Reader) error {
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadString('\n')
		var e event
		if json.Unmarshal([]byte(line), &e) == nil && e.Action != "" {
			t.hear(e)
		} else if line != "" {
			fmt.Fprint(t.out, line)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read what go test says: %w", err)
		}
	}
}

func (t *teller) hear(e event) {
	at := place{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		t.built[e.ImportPath] = append(t.built[e.ImportPath], strings.TrimSuffix(e.Output, "\n"))
	case "output":
		t.keep(at, strings.TrimSuffix(e.Output, "\n"))
	case "skip", "pass":
		if e.Action == "skip" && e.Test != "" {
			t.skipped++
		}
		delete(t.printed, at)
	case "fail":
		if e.Test == "" {
			t.packageFailed(e)
		} else {
			t.testFailed(at, e.Elapsed)
		}
	}
}

// keep remembers a line; that which sums up a package is for the reader.
func (t *teller) keep(at place, line string) {
	if at.test == "" && (strings.HasPrefix(line, "ok  \t") || strings.HasPrefix(line, "FAIL\t")) {
		fmt.Fprintln(t.out, line)
		return
	}
	if !frame(line) && len(t.printed[at]) < mostLines {
		t.printed[at] = append(t.printed[at], line)
	}
}

// frame says whether a line is the testing package's own.
func frame(line string) bool {
	words := strings.TrimSpace(line)
	for _, prefix := range []string{"=== ", "--- FAIL", "--- PASS", "--- SKIP", "?   \t", "coverage: ", "exit status "} {
		if strings.HasPrefix(words, prefix) {
			return true
		}
	}
	return words == "PASS" || words == "FAIL" || words == ""
}

// testFailed tells of a test, unless all it has to say was said by its subtests.
func (t *teller) testFailed(at place, seconds float64) {
	lines := t.printed[at]
	delete(t.printed, at)
	for parent := at; ; {
		i := strings.LastIndex(parent.test, "/")
		if i < 0 {
			t.blamed[place{at.pkg, ""}] = true
			break
		}
		parent.test = parent.test[:i]
		t.blamed[parent] = true
	}
	if len(lines) == 0 && t.blamed[at] {
		return
	}
	t.tell(failure{what: fmt.Sprintf("%s (%.2fs) %s", at.test, seconds, short(at.pkg)), at: at}, lines)
}

// packageFailed tells why a package failed where no test of it has: it does not
// compile, it died, or it ran out of time with tests under way.
func (t *teller) packageFailed(e event) {
	at := place{e.Package, ""}
	if e.FailedBuild != "" {
		t.tell(failure{what: short(e.Package) + " does not build"}, t.built[e.FailedBuild])
		return
	}
	for other, lines := range t.printed {
		if other.pkg == e.Package && other.test != "" && cause(lines) >= 0 {
			t.tell(failure{what: other.test + " did not end " + short(e.Package)}, lines)
			t.blamed[at] = true
		}
	}
	if lines := t.printed[at]; !t.blamed[at] || cause(lines) >= 0 {
		t.tell(failure{what: short(e.Package)}, lines)
	}
}

// tell prints a failure now, and keeps it for the end.
func (t *teller) tell(f failure, lines []string) {
	if f.lines = telling(lines); cause(lines) >= 0 {
		f.at = place{}
	}
	t.failures = append(t.failures, f)
	fmt.Fprint(t.out, f)
}

// conclude repeats what failed and what is unsteady, and adds it to a file.
func (t *teller) conclude(file string) error {
	if t.skipped > 0 {
		fmt.Fprintf(t.out, "%s: %d tests were skipped\n", t.name, t.skipped)
	}
	if len(t.failures)+len(t.unsteady) == 0 {
		return nil
	}
	said := summary(t.name, "unsteady: they passed when they ran once more, and want mending", t.unsteady) + summary(t.name, "failed", t.failures)
	f, err := create(file, os.O_APPEND)
	if err != nil {
		return err
	}
	if file == "" {
		fmt.Fprint(t.out, said)
	}
	_, err = f.WriteString(said)
	return errors.Join(err, f.Close())
}

// short is a package without the host and owner of its module.
func short(pkg string) string {
	parts := strings.SplitN(pkg, "/", 4)
	if len(parts) == 4 {
		return parts[3]
	}
	return pkg
}
