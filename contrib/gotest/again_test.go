package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// module is a module whose TestOnce fails the first time that it runs, and whose other
// tests fail as they are called.
const module = `package a

import (
	"os"
	"testing"
)

func TestOnce(t *testing.T) {
	t.Run("part", func(t *testing.T) {
		if f, err := os.OpenFile("ran", os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			f.Close()
			t.Error("the first time")
		}
	})
}

func TestAlways(t *testing.T) {
	if os.Getenv("GOTEST_TEST") == "always" {
		t.Error("each time")
	}
}

func TestPanics(t *testing.T) {
	if os.Getenv("GOTEST_TEST") == "panics" {
		panic("no")
	}
}
`

// What passes the second time is unsteady; what does not, or would not tell anything by
// passing, is a failure.
//
//nolint:paralleltest // it changes into the module's folder
func TestFailedTestsRunOnceMore(t *testing.T) {
	for _, c := range []struct {
		how    string
		again  string
		passes bool
		says   []string
	}{
		{"once", "1", true, []string{"==== all: 1 unsteady", "--- FAIL: TestOnce/part", "the first time"}},
		{"once", "0", false, []string{"==== all: 1 failed", "--- FAIL: TestOnce/part"}},
		{"always", "2", false, []string{"==== all: 1 unsteady", "==== all: 2 failed", "each time"}},
		{"always", "1", false, []string{"==== all: 2 failed"}}, // too many
		{"panics", "5", false, []string{"failed ====", "panic: no"}},
	} {
		dir := t.TempDir()
		for name, text := range map[string]string{"go.mod": "module example.test/a\n", "a_test.go": module} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		t.Chdir(dir)
		t.Setenv("GOTEST_TEST", c.how)
		var out strings.Builder
		err := run(t.Context(), []string{"-name", "all", "-again", c.again, "--", "-count=1", "./..."}, &out)
		if c.passes != (err == nil) || err != nil && !errors.Is(err, errFailed) {
			t.Errorf("%s, %s again: %v", c.how, c.again, err)
		}
		for _, want := range c.says {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s, %s again: %q is missing of\n%s", c.how, c.again, want, &out)
			}
		}
	}
}
