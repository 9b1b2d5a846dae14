package manual_test

import (
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/cli-plugin"
	"github.com/occystrap/occystrap/cli-plugin/manual"
)

// committed is where the pages are that everybody reads.
const committed = "../../contrib/docs/commands"

func TestCommittedPagesAreThoseOfTheCommands(t *testing.T) {
	t.Parallel()
	want := map[string]string{}
	for _, p := range manual.Pages(cliplugin.Tree()) {
		want[p.Name] = string(p.Text)
	}
	got := map[string]string{}
	files, err := os.ReadDir(committed)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(committed, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got[f.Name()] = string(text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("contrib/docs/commands is not what the commands say (-commands +pages); run make docs:\n%s", diff)
	}
}

func TestEveryCommandShowsExamples(t *testing.T) {
	t.Parallel()
	for _, p := range manual.Pages(cliplugin.Tree()) {
		if p.Name == "README.md" || strings.HasPrefix(p.Name, "completion") || strings.Contains(string(p.Text), "\nDeprecated") {
			continue // cobra's own help has them in its text; old commands say how they are written now
		}
		if !strings.Contains(string(p.Text), "\n## Examples\n") {
			t.Errorf("%s has no examples; fill in the command's Example", p.Name)
		}
	}
}

// macros are those of man(7) that every reader knows.
var macros = map[string]bool{".TH": true, ".nh": true, ".ad": true, ".SH": true, ".PP": true, ".TP": true, ".RS": true, ".RE": true, ".nf": true, ".fi": true, ".so": true}

// day finds what would make two builds differ.
var day = regexp.MustCompile(`\b20[0-9][0-9]\b`)

func TestManPagesAreOfPlainMacrosAndHaveNoDate(t *testing.T) {
	t.Parallel()
	pages := manual.ManPages(cliplugin.Tree())
	names := map[string]bool{}
	for _, p := range pages {
		names[p.Name] = true
		for line := range strings.Lines(string(p.Text)) {
			if macro, _, _ := strings.Cut(strings.TrimSpace(line), " "); strings.HasPrefix(line, ".") && !macros[macro] || strings.HasPrefix(line, "'") {
				t.Errorf("%s: troff would take this line for a command: %s", p.Name, line)
			}
		}
		if d := day.Find(p.Text); d != nil {
			t.Errorf("%s has the year %s", p.Name, d)
		}
	}
	for _, want := range []string{"occystrap.1", "occystrap-process.1", "docker-occystrap-process.1"} {
		if !names[want] {
			t.Errorf("there is no %s", want)
		}
	}
}

// told has the shell say which arguments occystrap gets, after Docker's own, and
// run nothing else.
const told = `occystrap() { printf '%s\0' "$@" >&3; }
docker() { while [ "$1" != occystrap ]; do shift || exit; done; shift; occystrap "$@"; }
ssh() { cat; }
sudo() { "$@"; }
exec 3>&1 >/dev/null
`

// The shell takes an example apart: it may have quotes, pipes and redirections.
func TestExamplesParse(t *testing.T) {
	t.Parallel()
	seen := 0
	for line := range examples(cliplugin.Tree()) {
		seen++
		cmd := exec.CommandContext(t.Context(), "sh", "-c", told+line)
		cmd.Dir = t.TempDir() // where redirections go
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		args := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
		found, rest, err := cliplugin.Tree().Find(args)
		if err == nil {
			err = found.ParseFlags(rest)
		}
		if err == nil {
			err = found.ValidateArgs(found.Flags().Args())
		}
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	if least := 10; seen < least {
		t.Errorf("saw %d examples, expected at least %d", seen, least)
	}
}

// examples are the command lines of all examples.
func examples(cmd *cobra.Command) iter.Seq[string] {
	return func(yield func(string) bool) {
		text := strings.ReplaceAll(cmd.Example, "\\\n", "")
		for line := range strings.SplitSeq(text, "\n") {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") && !yield(line) {
				return
			}
		}
		for _, c := range cmd.Commands() {
			for line := range examples(c) {
				if !yield(line) {
					return
				}
			}
		}
	}
}
