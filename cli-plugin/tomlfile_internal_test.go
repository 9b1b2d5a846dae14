package cliplugin

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline/builtin"
)

func writeTOML(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "x.toml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Lines are what an editor shows, however keys are written.
func TestEveryKeyHasItsLine(t *testing.T) {
	t.Parallel()
	f, err := readTOML(writeTOML(t, `# a comment
a = 1

b.c = """
x
y"""
"quoted" = [
  1,
  2,
]
[table]
d = {e = 1}
[[filter]]
name = "x"

[[filter]]
f = 1
name = "y"
`))
	if err != nil {
		t.Fatal(err)
	}
	for path, line := range map[string]int{
		"a": 2, "b.c": 4, "quoted": 7, "table": 11, "table.d": 12, "filter.0": 13, "filter.0.name": 14, "filter.1": 16, "filter.1.f": 17, "filter.1.name": 18,
		"table.d.e": 12, "filter.1.none": 16, // the nearest thing around
	} {
		want := fmt.Sprintf("%s:%d: here", f.name, line)
		if err := f.wrong(path, "here"); err.Error() != want {
			t.Errorf("%s: %v, expected %s", path, err, want)
		}
	}
	if err := f.wrong("nowhere", "here"); err.Error() != f.name+": here" {
		t.Errorf("a key that is not there: %v", err)
	}
}

// What is wrong is told with its line, and without the value: that may be a
// password.
func TestWhatIsNotTOMLIsToldWithoutItsText(t *testing.T) {
	t.Parallel()
	for text, line := range map[string]int{
		"a = 1\npassword = hunter2\n":                   2,
		"a = 1\n\npassword = 'hunter2\n":                3,
		"password = \"hunter2":                          1,
		"password = \"hunter2\" hunter2":                1,
		"password = \"\\hunter2\"":                      1,
		"a = 1\npassword = \"hunter2\"\npassword = 2\n": 3,
		"[a]\n[a]\n":                 2,
		"a = 1\na.b = 'hunter2'\n":   2,
		"a = 99999999999999999999\n": 1,
		"\xff\xfe = 1\n":             1,
		"a = '\x00'":                 1,
		"hunter2:\n":                 1,
	} {
		_, err := readTOML(writeTOML(t, text))
		if err == nil {
			t.Errorf("%q is TOML", text)
			continue
		}
		if want := fmt.Sprintf("x.toml:%d: ", line); !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, expected %s", text, err, want)
		}
	}
}

// A file that somebody else has a hand in, or that is none, is refused.
func TestHostileFilesOfSettingsAreRefused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"large":       strings.Repeat("# x\n", maxSettings/4+1),
		"deep":        "a = " + strings.Repeat("[", maxSettings-10),
		"deep tables": "a = " + strings.Repeat("{a=", maxSettings/3-10),
		"dots":        strings.Repeat("a.", maxSettings/2-10) + "a = ",
	} {
		if _, err := readTOML(writeTOML(t, text)); err == nil {
			t.Errorf("%s is read", name)
		}
	}
	dir := t.TempDir()
	if _, err := readTOML(dir); err == nil || !strings.Contains(err.Error(), "it is a directory") {
		t.Errorf("a directory: %v", err)
	}
	name := writeTOML(t, "a = 1")
	if err := os.Chmod(name, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := readTOML(name); err == nil || !strings.Contains(err.Error(), "chmod o-w") {
		t.Errorf("a file that everybody may write to: %v", err)
	}
	if f, err := readTOML(os.DevNull); err != nil || len(f.root) != 0 {
		t.Errorf("no settings at all: %v", err)
	}
}

// What the reference shows as a file is one.
func TestSamplesOfTheReferenceAreRead(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../contrib/docs/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	root := (&program{}).root()
	process, _, err := root.Find([]string{"process"})
	if err != nil {
		t.Fatal(err)
	}
	samples := strings.Split(string(text), "```toml\n")[1:]
	if len(samples) < 2 {
		t.Fatalf("the reference has %d samples", len(samples))
	}
	for _, sample := range samples {
		sample, _, _ = strings.Cut(sample, "```")
		if strings.HasPrefix(sample, "[lanes]") || strings.HasPrefix(sample, "[proxy]") {
			continue // occystrapd's, which reads files of its own
		}
		f, err := readTOML(writeTOML(t, sample))
		if err != nil {
			t.Fatal(err)
		}
		filters, err := f.filters()
		if err != nil {
			t.Error(err)
		}
		for _, filter := range filters {
			if _, err := filter.make(builtin.Filters(builtin.Config{})); err != nil {
				t.Error(err)
			}
		}
		delete(f.root, "filter")
		if len(filters) > 0 {
			_, err = f.settings("", f.root, fileOptions(process.LocalNonPersistentFlags(), globalOptions(process)), nil)
		} else {
			_, _, err = f.commandSettings(process)
		}
		if err != nil {
			t.Error(err)
		}
	}
}
