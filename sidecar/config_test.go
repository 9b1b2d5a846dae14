package sidecar

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/occystrap/occystrap/sidecar/lanes"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func written(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "config.toml")
	must(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

// Settings that the documents show are settings that there are.
func TestTheSettingsOfTheDocumentsAreRead(t *testing.T) {
	t.Parallel()
	blocks := regexp.MustCompile("(?s)```toml[^\n]*\n(\\[lanes\\].*?)```")
	for _, page := range []string{"../contrib/docs/reference.md", "../contrib/docs/howto/sidecar.md"} {
		text, err := os.ReadFile(page)
		must(t, err)
		found := blocks.FindAllStringSubmatch(string(text), -1)
		if len(found) != 1 {
			t.Fatalf("%s has %d blocks of [lanes]", page, len(found))
		}
		s, err := readSettings(written(t, found[0][1]), true)
		must(t, err)
		s.Lanes.defaults()
		cs, ds, err := s.Lanes.engines(func(string) lanes.Reader { return nil })
		if err != nil || len(cs) == 0 || len(ds) == 0 || s.Lanes.Group != "docker" {
			t.Errorf("%s: %+v, %+v, %v", page, cs, ds, err)
		}
	}
}

// The view's page shows settings of the lanes too.
func TestTheSettingsOfTheViewAreRead(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../contrib/docs/howto/view.md")
	must(t, err)
	found := regexp.MustCompile("(?s)```toml file=config.toml\n(.*?)```").FindStringSubmatch(string(text))
	if found == nil {
		t.Fatal("the page has no settings")
	}
	s, err := readSettings(written(t, found[1]), true)
	must(t, err)
	if s.Lanes.View.Listen != "127.0.0.1:5051" || s.Lanes.View.Tokens == "" {
		t.Errorf("%+v", s.Lanes.View)
	}
}

func TestWithoutSettingsItIsDockersOwn(t *testing.T) {
	t.Parallel()
	s, err := readSettings(filepath.Join(t.TempDir(), "none"), false)
	must(t, err)
	s.Lanes.defaults()
	idle, err := s.Lanes.idle()
	must(t, err)
	if s.Lanes.Listen != "/run/occystrap/control.sock" || s.Lanes.Group != "docker" || idle != time.Minute ||
		len(s.Lanes.Containerd) != 2 || !slices.Equal(s.Lanes.Containerd[0].Namespaces, []string{"moby"}) || len(s.Lanes.Docker) != 1 {
		t.Errorf("%+v", s.Lanes)
	}
}

// A mistake is told with its line; nothing is passed over.
func TestMistakesInSettingsAreTold(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"[lanes]\nlisten = \"/x\"\nuser = [\"a\"]":                 "line 3: there is no setting lanes.user (did you mean lanes.users?)",
		"[lanes]\nusers = \"a\"":                                   "line 2: lanes.users takes a list",
		"[lane]":                                                   "line 1: there is no setting lane (did you mean lanes?)",
		"[lanes\n":                                                 "line 1: it is not TOML",
		"[lanes]\nidle = \"soon\"":                                 `idle is "soon"`,
		"[lanes]\nidle = \"-1s\"":                                  `idle is "-1s"`,
		"[[lanes.docker]]\nroot = \"relative\"":                    `root is "relative"`,
		"[[lanes.docker]]\nroot = \"/var/lib/../docker\"":          "root is",
		"[[lanes.containerd]]\nnamespaces = [\"moby\"]":            `root is ""`,
		"[[lanes.containerd]]\nroot = \"/x\"\nnamespaces = [\"\"]": "namespaces",
		"[lanes]\nusers = [\"no such user\"]":                      `[lanes] users: "no such user" is no user of this machine`,
	} {
		err := func() error {
			p := &program{}
			s, err := p.laneSettings([]string{"--config", written(t, text)})
			if err != nil {
				return err
			}
			if _, err := s.idle(); err != nil {
				return err
			}
			_, err = p.lanesConfig(s)
			return err
		}()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error is %v, want %q", text, err, want)
		}
	}
	if _, err := readSettings(filepath.Join(t.TempDir(), "none"), true); err == nil {
		t.Error("a file that was named and is not there is no error")
	}
}

func TestTheCommandLine(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"":                        {2, "which daemon?"},
		"proxxy":                  {2, "no daemon"},
		"lanes now":               {2, "takes no argument"},
		"lanes --no":              {2, "there is no option -no"},
		"--version":               {0, "occystrapd v1.2.3"},
		"lanes --version":         {0, "occystrapd v1.2.3"},
		"help":                    {0, "Usage: occystrapd lanes"},
		"lanes --help":            {0, "Usage: occystrapd lanes"},
		"lanes --config /nowhere": {1, "/nowhere"},
	} {
		var out strings.Builder
		if code := Main("v1.2.3", strings.Fields(args), &out, &out); code != want.code || !strings.Contains(out.String(), want.text) {
			t.Errorf("%q ends with %d and\n%s", args, code, out.String())
		}
	}
}
