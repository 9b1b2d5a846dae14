package cliplugin_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/occystrap/occystrap/cli-plugin"
)

var update = flag.Bool("update", false, "rewrite the golden files in the scripts")

// TestMain lets scripts run this very binary as the program, by both its names.
func TestMain(m *testing.M) {
	program := func() { os.Exit(cliplugin.Main("v1.2.3-test")) }
	testscript.Main(m, map[string]func(){"occystrap": program, "docker-occystrap": program})
}

// TestScript runs command lines, one subtest for each file of testdata/script,
// against registries, a proxy and a daemon in this process.
func TestScript(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		Setup:               setUp,
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Condition:           condition,
		Cmds:                commands(),
	})
}

// commands are those that scripts have besides testscript's own.
func commands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"exits":    exits,
		"watched":  startWatched,
		"mkimage":  makeArchive,
		"mkremote": makeRemote,
		"mkindex":  makeIndex,
		"entries":  listEntries,
		"digest":   showDigest,
		"config":   showConfig,
		"requests": showRequests,
		"empty":    isEmpty,
		"transfer": awaitTransfer,
		"signal":   sendSignal,
		"program":  linkProgram,
		"hangup":   hangUp,
		"mkodd":    makeOdd,
		"mkbad":    makeBad,
		"loaded":   startLoaded,
		"mkleak":   makeLeak,
		"mkpython": makePython,
		"mkbase":   makeBase,

		"mkstore":    makeStore,
		"spoilstore": spoilStore,

		"mksigned":  makeSigned,
		"referrers": showReferrers,
		"logins":    writeLogins,
		"tokens":    startTokens,
	}
}

// condition "mounts" says whether something can be mounted in a namespace of its
// own. With CI=true it has to be so.
func condition(name string) (bool, error) {
	if name != "mounts" {
		return false, fmt.Errorf("there is no condition %s", name)
	}
	out, err := exec.Command("unshare", "--user", "--map-root-user", "--mount", "true").CombinedOutput()
	if err != nil && runtime.GOOS == "linux" && os.Getenv("CI") == "true" {
		return false, fmt.Errorf("no namespace for mounts: %w: %s", err, out)
	}
	return err == nil, nil
}

// exits CODE PROGRAM ARGS… runs a program that must end with just this code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var failed *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &failed) {
		got = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, expected %d", got, want)
	}
}

// empty DIR fails when there is anything in a folder.
func isEmpty(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: empty DIR")
	}
	files, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	for _, f := range files {
		ts.Fatalf("%s is in %s", f.Name(), args[0])
	}
}

// signal TERM|INT sends a signal to the programs in the background.
func sendSignal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || signals[args[0]] == nil {
		ts.Fatalf("usage: signal INT|TERM")
	}
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(signals[args[0]]))
	}
}

// program FILE makes FILE this very program, for those who look for plugins.
func linkProgram(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: program FILE")
	}
	self, err := os.Executable()
	ts.Check(err)
	ts.Check(os.Symlink(self, ts.MkAbs(args[0])))
}
