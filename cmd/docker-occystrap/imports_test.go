package main_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/occystrap/occystrap/"

// goPackage is what "go list -json" says of a package.
type goPackage struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Module     *struct{ Main bool }
}

// floors are the folders from the left to the right of the picture in
// contrib/docs/CONTRIBUTING.md. A folder imports what stands to its right.
var floors = [][]string{
	{"cmd/", "contrib/"},
	{"cli-plugin"},
	{"sidecar"},
	{"pipeline/builtin", "plugin"},
	{"pipeline/scheme/", "pipeline/filter", "pipeline/layercache"},
	{"pipeline/registry", "pipeline/check", "pipeline/compare", "pipeline/credential", "pipeline/inventory", "pipeline/unpack", "pipeline/pipelinetest"},
	{"pipeline"},
	{"pipeline/tarstream", "pipeline/process", "pipeline/internal/"},
}

// siblings are the arrows that are allowed on one floor.
var siblings = map[string][]string{
	"pipeline/internal/codec":   {"pipeline/internal/deflate", "pipeline/internal/pgzip"},
	"pipeline/internal/rootfs":  {"pipeline/internal/layerpath", "pipeline/tarstream"},
	"pipeline/internal/staging": {"pipeline/internal/rootfs", "pipeline/internal/filelock"},
	"pipeline/scheme/daemon":    {"pipeline/scheme/tarball"},
	"pipeline/scheme/bundle":    {"pipeline/scheme/dir"},
	"pipeline/scheme/overlay":   {"pipeline/scheme/dir"},
	"pipeline/pipelinetest":     {"pipeline/registry"},     // fakes of its backends
	"sidecar/proxy/proxytest":   {"pipeline/pipelinetest"}, // for the tests of its siblings
}

// strangers are the modules of others that only some folders know.
var strangers = map[string][]string{
	"github.com/containerd/containerd/v2":         {"plugin", "sidecar/store"},
	"github.com/docker/cli":                       {"cli-plugin", "pipeline/credential"},
	"github.com/moby/moby/client":                 {"pipeline/scheme/daemon", "cmd"},
	"github.com/google/go-containerregistry":      {"pipeline/scheme/remote", "pipeline/credential", "pipeline/pipelinetest", "contrib"},
	"github.com/coreos/go-systemd":                {"sidecar"},
	"github.com/spf13/cobra":                      {"cli-plugin"},
	"github.com/vbauerster/mpb":                   {"cli-plugin"},
	"github.com/pelletier/go-toml":                {"cli-plugin", "sidecar"},
	"github.com/prometheus":                       {"sidecar"},
	"github.com/docker/docker-credential-helpers": {"pipeline/credential", "plugin/credential"},
}

// pluginKnows is what plugin imports of the folders between it and package pipeline:
// whose lanes it has, and what it unpacks with.
var pluginKnows = []string{"pipeline/scheme/daemon", "pipeline/unpack"}

// pipelineKnows is all that package pipeline imports besides the standard
// library and its own folders.
var pipelineKnows = []string{
	"github.com/opencontainers/go-digest", "github.com/opencontainers/image-spec",
	"github.com/containerd/platforms", "golang.org/x/sync", "github.com/klauspost/compress",
}

func TestFoldersImportWhatStandsToTheirRight(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, p := range packages(t) {
		from := strings.TrimPrefix(p.ImportPath, module)
		seen++
		for _, imported := range p.Imports {
			if to, ours := strings.CutPrefix(imported, module); ours {
				if err := arrow(from, to); err != nil {
					t.Error(err)
				}
				continue
			}
			checkStranger(t, from, imported)
		}
	}
	if least := 10; seen < least {
		t.Fatalf("saw %d packages of ours, expected at least %d", seen, least)
	}
}

// The rules themselves are tested too: each of these arrows is wrong.
func TestArrowsToTheLeftAreRefused(t *testing.T) {
	t.Parallel()
	for _, a := range [][2]string{
		{"pipeline", "pipeline/filter"},
		{"pipeline/filter", "cli-plugin"},
		{"pipeline/scheme/tarball", "pipeline/scheme/daemon"},
		{"pipeline/scheme/remote", "pipeline/filter"},
		{"pipeline/tarstream", "pipeline"},
		{"sidecar/proxy", "cli-plugin"},
		{"pipeline/builtin", "plugin/content"},
		{"plugin/content", "pipeline/builtin"},
		{"cli-plugin", "contrib/bench"},
		{"elsewhere", "pipeline"},
	} {
		if arrow(a[0], a[1]) == nil {
			t.Errorf("%s may import %s", a[0], a[1])
		}
	}
}

// arrow says what is wrong with from importing to.
func arrow(from, to string) error {
	if slices.Contains(siblings[from], to) {
		return nil
	}
	f, t := floor(from), floor(to)
	switch {
	case f < 0 || t < 0:
		return errors.New("imports_test.go does not know where to put " + from + " or " + to)
	case strings.HasPrefix(to, "pipeline/pipelinetest"):
		return errors.New(from + " imports " + to + ", which is for tests")
	case family(from) == family(to) && !strings.HasPrefix(from, "pipeline/scheme/") && !strings.HasPrefix(from, "pipeline/internal/"):
		return nil // one folder's own packages
	case f >= t:
		return errors.New(from + " imports " + to + ", which does not stand to its right")
	case strings.HasPrefix(from, "plugin") && t < floor("pipeline") && !slices.Contains(pluginKnows, to):
		return errors.New(from + " imports " + to + "; plugin knows package pipeline only, and " + strings.Join(pluginKnows, ", "))
	}
	return nil
}

// floor is the place of a folder in the picture, from the left; -1 for none.
func floor(folder string) int {
	best, at := "", -1
	for i, names := range floors {
		for _, n := range names {
			bare := strings.TrimSuffix(n, "/")
			if (folder == bare || strings.HasPrefix(folder, bare+"/")) && len(bare) > len(best) {
				best, at = bare, i
			}
		}
	}
	return at
}

// family is the first folder, or the first two below pipeline.
func family(folder string) string {
	parts := strings.Split(folder, "/")
	if parts[0] == "pipeline" {
		return strings.Join(parts[:min(len(parts), 2)], "/")
	}
	return parts[0]
}

func checkStranger(t *testing.T, from, imported string) {
	t.Helper()
	for prefix, folders := range strangers {
		known := slices.ContainsFunc(folders, func(f string) bool { return within(from, f) })
		if within(imported, prefix) && !known {
			t.Errorf("%s imports %s, which is for %s only", from, imported, strings.Join(folders, ", "))
		}
	}
	if from != "pipeline" || !strings.Contains(strings.SplitN(imported, "/", 2)[0], ".") {
		return
	}
	if !slices.ContainsFunc(pipelineKnows, func(k string) bool { return within(imported, k) }) {
		t.Errorf("pipeline imports %s; it knows only %s", imported, strings.Join(pipelineKnows, ", "))
	}
}

func within(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

// packages lists our packages as they are built without tests.
func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Standard,Imports,Module", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		t.Fatalf("go list: %v: %s", err, failed.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	var ours []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return ours
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Module != nil && p.Module.Main && strings.HasPrefix(p.ImportPath, module) {
			ours = append(ours, p)
		}
	}
}
