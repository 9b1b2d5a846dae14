package cliplugin

import (
	"bytes"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
)

// What a script parses and a terminal shows; the scripts cover the rest, but for
// a terminal.
func TestPathsAreOneLineAndCanBeToldApart(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"usr/bin/ls":           "usr/bin/ls",
		"a b:c -> d":           "a b:c -> d",
		`dev-disk-by\x2dlabel`: `dev-disk-by\x2dlabel`,
		"æøå/日本":               "æøå/日本",
		"a\nb":                 `"a\nb"`,
		"a\x1b[31mb":           `"a\x1b[31mb"`,
		"a\xffb":               `"a\xffb"`,
		"\u202egpj.exe":        `"\u202egpj.exe"`,
		`"a"`:                  `"\"a\""`,
	} {
		if got := pipeline.QuoteName(path); got != want {
			t.Errorf("%q is shown as %s, expected %s", path, got, want)
		}
	}
}

func TestImagesHaveTheNamesThatPeopleWrite(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"docker.io/library/busybox:1":   "busybox:1",
		"docker.io/team/app:1":          "team/app:1",
		"docker.io/library/team/app:1":  "library/team/app:1",
		"registry.example/library/a:1":  "registry.example/library/a:1",
		"localhost:5000/app:1":          "localhost:5000/app:1",
		"registry.example/docker.io/a:": "registry.example/docker.io/a:",
	} {
		if got := imageName(&filter.SearchedImage{Names: []string{name}}); got != want {
			t.Errorf("%s is shown as %s, expected %s", name, got, want)
		}
	}
}

func TestResultsWaitWhileBarsAreDrawn(t *testing.T) {
	t.Parallel()
	var terminal bytes.Buffer
	r := &results{w: &terminal, wait: true}
	for _, s := range []string{"a", "b"} {
		if _, err := r.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	if terminal.Len() > 0 {
		t.Errorf("%q was written over the bars", terminal.String())
	}
	if err := r.flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Write([]byte("c")); err != nil || terminal.String() != "abc" {
		t.Errorf("the terminal has %q, %v", terminal.String(), err)
	}
}
