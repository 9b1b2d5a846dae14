package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const pkg = "example.test/owner/module/a"

// stream is what go test -json prints: events, and between them the odd line.
func stream(t *testing.T, events ...any) *strings.Reader {
	t.Helper()
	var out strings.Builder
	for _, e := range events {
		if line, ok := e.(string); ok {
			out.WriteString(line + "\n")
			continue
		}
		raw, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(raw, '\n'))
	}
	return strings.NewReader(out.String())
}

func printed(test string, lines ...string) []any {
	var all []any
	for _, line := range lines {
		all = append(all, event{Action: "output", Package: pkg, Test: test, Output: line + "\n"})
	}
	return all
}

func ended(action, test string) []any { return []any{event{Action: action, Package: pkg, Test: test}} }

func together(parts ...[]any) []any {
	var all []any
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func many(format string, n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(format, i))
	}
	return all
}

// What is told of a run: that which explains a failure, and nothing else.
func TestTellsWhatFailedAndWhy(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		events []any
		want   string
	}{
		"all is well": {
			together(printed("TestA", "=== RUN   TestA", "    a_test.go:3: fine"), ended("pass", "TestA"), printed("", "PASS", "ok  \t"+pkg+"\t0.1s"), ended("pass", "")),
			"",
		},
		"a subtest": {
			together(printed("TestA/x", "=== RUN   TestA/x", "    a_test.go:3: got 1", "    --- FAIL: TestA/x (0.00s)"), ended("fail", "TestA/x"),
				printed("TestA", "--- FAIL: TestA (0.00s)"), ended("fail", "TestA"), printed("", "FAIL", "FAIL\t"+pkg+"\t0.1s"), ended("fail", "")),
			"--- FAIL: TestA/x (0.00s) a\n    a_test.go:3: got 1\n",
		},
		"a test and its subtest": {
			together(ended("fail", "TestA/x"), printed("TestA", "    a_test.go:9: own"), ended("fail", "TestA"), ended("fail", "")),
			"--- FAIL: TestA/x (0.00s) a\n--- FAIL: TestA (0.00s) a\n    a_test.go:9: own\n",
		},
		"the last lines": {
			together(printed("TestA", many("line %d", 30)...), ended("fail", "TestA"), ended("fail", "")),
			"--- FAIL: TestA (0.00s) a\n    " + strings.Join(many("line %d", 30)[15:], "\n    ") + "\n",
		},
		"a panic from its beginning": {
			together(printed("TestA", append([]string{"before", "panic: no"}, many("line %d", 60)...)...), ended("fail", "TestA"), ended("fail", "")),
			"--- FAIL: TestA (0.00s) a\n    panic: no\n    " + strings.Join(many("line %d", 39), "\n    ") + "\n",
		},
		"a test that did not end": {
			together(printed("TestA", "=== RUN   TestA", "panic: test timed out after 3s"), printed("TestB", "waiting"), printed("", "FAIL\t"+pkg+"\t3.0s"), ended("fail", "")),
			"--- FAIL: TestA did not end a\n    panic: test timed out after 3s\n",
		},
		"a package that died": {
			together(printed("", "fatal error: out of memory", "FAIL\t"+pkg+"\t3.0s"), ended("fail", "")),
			"--- FAIL: a\n    fatal error: out of memory\n",
		},
		"what does not compile": {
			[]any{
				event{Action: "build-output", ImportPath: pkg + " [x]", Output: "a_test.go:3:33: undefined: x\n"},
				event{Action: "fail", Package: pkg, FailedBuild: pkg + " [x]"},
			},
			"--- FAIL: a does not build\n    a_test.go:3:33: undefined: x\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			tell := newTeller("race", &out)
			if err := tell.listen(stream(t, test.events...)); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "bin", "failures")
			if err := tell.conclude(file); err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile(file)
			if test.want == "" {
				if err == nil {
					t.Errorf("nothing failed, and the list of failures is %s", raw)
				}
				return
			}
			_, got, _ := strings.Cut(string(raw), "====\n")
			if got != test.want {
				t.Errorf("told\n%s\nwant\n%s", got, test.want)
			}
			if !strings.Contains(out.String(), test.want) && !strings.Contains(test.want, "own") {
				t.Errorf("printed\n%s\nwithout\n%s", &out, test.want)
			}
		})
	}
}

// Packages, and what is no event, are for the reader at once.
func TestPassesOnWhatIsForTheReader(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	tell := newTeller("race", &out)
	events := together([]any{"go: downloading x"}, printed("TestA", "noise"), ended("skip", "TestA"), printed("", "ok  \t"+pkg+"\t0.1s"))
	if err := tell.listen(stream(t, events...)); err != nil {
		t.Fatal(err)
	}
	if err := tell.conclude(""); err != nil {
		t.Fatal(err)
	}
	if want := "go: downloading x\nok  \t" + pkg + "\t0.1s\nrace: 1 tests were skipped\n"; out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", &out, want)
	}
}

// Many failures are named, and the first of them shown.
func TestNamesWhatItDoesNotShow(t *testing.T) {
	t.Parallel()
	var all []failure
	for _, what := range many("Test%d", mostShown+2) {
		all = append(all, failure{what: what, lines: []string{"why"}})
	}
	said := summary("race", "failed", all)
	if n := strings.Count(said, "why"); n != mostShown {
		t.Errorf("%d failures are shown, want %d", n, mostShown)
	}
	if !strings.Contains(said, "and 2 more:\n--- FAIL: Test40\n--- FAIL: Test41\n") {
		t.Errorf("it ends with %s", said[len(said)-100:])
	}
}
