package cliplugin_test

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// documents are the pages whose command lines are run.
var documents = []string{"../contrib/docs/howto/*.md", "../contrib/docs/moving-from-python.md"}

// TestDocumentedCommandLinesDoWhatTheySay runs the pages of the manual as
// scripts, in the world of TestScript. What a page has is run in its order:
//
//	```sh                     the shell runs it, in one folder for the page; it must succeed
//	```sh exits=1             it must end with this code
//	```sh needs=docker,root   it is run where there is a real daemon, tool or root (integration tests)
//	```text                   what the block before prints, line by line; … stands for anything
//	```toml file=NAME         a file; other blocks are not looked at
//	<!-- test LINES -->       lines of testscript, to make images or to look closer
//
// registry.example and private.example are registries of this process; the
// second wants the login of $USERNAME. 127.0.0.1:5051, where the view of an engine
// would be, is the first too.
func TestDocumentedCommandLinesDoWhatTheySay(t *testing.T) {
	t.Parallel()
	for _, pattern := range documents {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no page is called %s (%v)", pattern, err)
		}
		for _, file := range files {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".md"), func(t *testing.T) {
				t.Parallel()
				runPage(t, file)
			})
		}
	}
}

func runPage(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := &howto{}
	if err := p.parse(string(text)); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if len(p.blocks) == 0 && filepath.Base(file) != "README.md" {
		t.Fatalf("%s has no blocks to run", file)
	}
	script := filepath.Join(t.TempDir(), "page.txtar")
	if err := os.WriteFile(script, []byte(p.script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmds := commands()
	cmds["block"], cmds["prints"], cmds["file"] = p.block, p.prints, p.file
	testscript.Run(t, testscript.Params{Files: []string{script}, Setup: setUp, RequireExplicitExec: true, Cmds: cmds, Condition: has})
}

// A howto is a page as a script. Blocks are known by their number.
type howto struct {
	blocks []string
	script strings.Builder
}

var (
	fenced  = regexp.MustCompile("(?ms)^```([a-z]*)((?: [a-z]+=\\S+)*)\n(.*?)^```$|^<!-- test\n(.*?)^-->$")
	setting = regexp.MustCompile(`([a-z]+)=(\S+)`)
)

func (p *howto) parse(text string) error {
	if strings.Count(text, "\n```")%2 != 0 {
		return errors.New("a block of code is not closed")
	}
	var before string // conditions of the block before
	for _, m := range fenced.FindAllStringSubmatch(text, -1) {
		info := map[string]string{}
		for _, s := range setting.FindAllStringSubmatch(m[2], -1) {
			info[s[1]] = s[2]
		}
		n := len(p.blocks)
		p.blocks = append(p.blocks, m[3])
		switch {
		case m[4] != "":
			p.script.WriteString(m[4])
		case m[1] == "sh":
			before = ""
			for _, need := range strings.FieldsFunc(info["needs"], func(r rune) bool { return r == ',' }) {
				before += "[has:" + need + "] "
			}
			fmt.Fprintf(&p.script, "%sblock %d %s %s\n", before, n, cmp.Or(info["exits"], "0"), info["needs"])
		case m[1] == "text":
			fmt.Fprintf(&p.script, "%sprints %d\n", before, n)
		case info["file"] != "":
			fmt.Fprintf(&p.script, "file %d %s\n", n, info["file"])
		}
	}
	return nil
}

// text is a block with the names of registries that there are.
func (p *howto) text(ts *testscript.TestScript, number string) string {
	n, err := strconv.Atoi(number)
	ts.Check(err)
	return strings.NewReplacer("registry.example", ts.Getenv("REGISTRY"), "127.0.0.1:5051", ts.Getenv("REGISTRY"), "private.example", ts.Getenv("AUTH")).Replace(p.blocks[n])
}

// block NUMBER CODE [NEEDS] has the shell run a block, which must end so.
func (p *howto) block(ts *testscript.TestScript, _ bool, args []string) {
	text := p.text(ts, args[0])
	ts.Logf("%s", text)
	shell := []string{"sh", "-eu", "-c", text}
	if len(args) > 2 {
		needs := strings.Split(args[2], ",")
		provide(ts, needs)
		if slices.Contains(needs, "mounts") {
			shell = append([]string{"unshare", "--user", "--map-root-user", "--mount"}, shell...)
		}
	}
	got := 0
	var failed *exec.ExitError
	if err := ts.Exec(shell[0], shell[1:]...); errors.As(err, &failed) {
		got = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[1] {
		ts.Fatalf("exit code %d, the page says %s", got, args[1])
	}
}

// prints NUMBER compares what the block before has printed with a block.
func (p *howto) prints(ts *testscript.TestScript, _ bool, args []string) {
	got, want := ts.ReadFile("stdout"), p.text(ts, args[0])
	pattern := strings.ReplaceAll(regexp.QuoteMeta(want), "…\n", "…")
	if !regexp.MustCompile("^(?s:" + strings.ReplaceAll(pattern, "…", ".*?") + ")$").MatchString(got) {
		ts.Fatalf("it prints:\n%s\nthe page says:\n%s", got, want)
	}
}

// file NUMBER NAME writes a block.
func (p *howto) file(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(p.text(ts, args[0])), 0o600))
}
