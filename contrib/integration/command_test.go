//go:build integration && linux

package integration

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// programDir is where program is, once somebody needs it.
var programDir string

// program is the stand-alone command, built once from this tree.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "occystrap-integration-")
	if err != nil {
		return "", err
	}
	programDir = dir
	path := filepath.Join(dir, "occystrap")
	cmd := exec.Command("go", "build", "-o", path, "../../cmd/docker-occystrap")
	cmd.Stderr = os.Stderr
	return path, cmd.Run()
})

// leastParallel is how many tests run at once on machines with fewer cores: most
// of the time they wait for a daemon or its disk.
const leastParallel = 4

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", strconv.Itoa(max(leastParallel, runtime.GOMAXPROCS(0))))
	}
	code := m.Run()
	if programDir != "" { // not by program, which would build it
		os.RemoveAll(programDir)
	}
	os.Exit(code)
}

// occystrap runs the command as a user does and returns standard output.
func occystrap(t testing.TB, args ...string) string {
	t.Helper()
	path, err := program()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir(), "OCCYSTRAP_CONFIG=")
	defer changes(args...)()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("occystrap %s: %v\n%s%s", strings.Join(args, " "), err, &stdout, &stderr)
	}
	return stdout.String()
}

// A made image is what the command says that it made.
type made struct {
	Manifest string `json:"containerimage.digest"`
	Config   string `json:"containerimage.config.digest"`
}

// processAs runs "occystrap process" with some parallelism and filters.
func processAs(t testing.TB, from, to, parallel string, filters []string) made {
	t.Helper()
	file := filepath.Join(t.TempDir(), "metadata.json")
	args := []string{"process", from, to, "--quiet", "-j", parallel, "--metadata-file", file}
	for _, f := range filters {
		args = append(args, "-f", f)
	}
	occystrap(t, args...)
	raw, err := os.ReadFile(file)
	must(t, err)
	var m made
	must(t, json.Unmarshal(raw, &m))
	if m.Manifest == "" || m.Config == "" {
		t.Errorf("%s has no digests of the image", raw)
	}
	return m
}
