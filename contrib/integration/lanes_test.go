//go:build integration && linux

package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// lanesOut are the lanes out of each daemon.
var lanesOut = map[string][]string{
	"docker20":          {"layers", "push", "save"},
	"docker29":          {"content", "push", "save"},
	"docker29-overlay2": {"layers", "push", "save"},
	"podman":            {"push", "save"},
}

// lanesIn are the lanes into each daemon.
var lanesIn = map[string][]string{
	"docker20":          {"pull", "load"},
	"docker29":          {"content", "pull", "load"},
	"docker29-overlay2": {"pull", "load"},
	"podman":            {"load"},
}

// laneReports are the lanes of a run, as --metadata-file has them.
type laneReports struct {
	Report struct {
		Lanes []struct{ Side, Lane string }
	} `json:"occystrap.report"`
}

// by moves an image by one lane, and checks that it was that one.
func by(t testing.TB, lane, side, from, to string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "metadata.json")
	occystrap(t, "process", "--quiet", "--metadata-file", file, from, to)
	raw, err := os.ReadFile(file)
	must(t, err)
	var r laneReports
	must(t, json.Unmarshal(raw, &r))
	if len(r.Report.Lanes) != 1 || r.Report.Lanes[0].Lane != lane || r.Report.Lanes[0].Side != side {
		t.Errorf("%s to %s took %+v, not lane %s", from, to, r.Report.Lanes, lane)
	}
}

// TestEveryLaneOutGivesTheSameImage: the daemon's diff IDs, and on the containerd
// store its digests, by every lane; and what a lane exports runs wherever it is
// loaded.
func TestEveryLaneOutGivesTheSameImage(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, e engine) {
		name := e.build(t)
		want := e.identity(t, name)
		if !e.manifests {
			want.manifest = "" // each lane makes one
		}
		archives := map[digest.Digest]string{} // lanes that give the same bytes are loaded once
		made := map[string]string{}
		for _, lane := range lanesOut[e.name] {
			path := archivePath(t)
			e.outBy(t, lane, name, path)
			got := archiveIdentity(t, path)
			expectation{fixture: builtFixture(), from: want}.compare(t, "by lane "+lane, got)
			made[lane] = got.manifest
			raw, err := os.ReadFile(path)
			must(t, err)
			archives[digest.FromBytes(raw)] = path
		}
		if m, ok := made["layers"]; ok && m != made["save"] {
			t.Errorf("by lane layers the image is %s, by lane save %s", m, made["save"])
		}
		for _, l := range loaders {
			t.Run("into "+l.name, func(t *testing.T) {
				t.Parallel()
				if l.turn != nil {
					l.turn.Lock()
					t.Cleanup(l.turn.Unlock)
				}
				for _, path := range archives {
					l.load(t, path, name)
				}
			})
		}
	})
}

// outBy saves an image by a lane. Podman loses names when two change its store at
// once.
func (e engine) outBy(t testing.TB, lane, name, path string) {
	t.Helper()
	if e.podman && lane == "push" {
		turns[e.name].Lock()
		defer turns[e.name].Unlock()
	}
	by(t, lane, "source", e.uri(t, name)+"&lane="+lane, "tar://"+path)
}

// TestEveryLaneInGivesTheSameImage: the diff IDs of the source, and where the
// daemon keeps manifests its digests; the image runs.
func TestEveryLaneInGivesTheSameImage(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, e engine) {
		for _, lane := range lanesIn[e.name] {
			t.Run(lane, func(t *testing.T) {
				t.Parallel()
				f := own(t)
				path, name := f.archive(t, "fixture.test/x:1"), e.image(t)
				by(t, lane, "destination", "tar://"+path, e.uri(t, name)+"&lane="+lane)
				want := expectation{fixture: f, from: archiveIdentity(t, path)}
				got := e.identity(t, name)
				want.compare(t, "by lane "+lane, got)
				runsLayered(t, e.name+" by lane "+lane, e.says(t, name))
			})
		}
	})
}

// A loader loads an archive with a tool of others and runs the image.
type loader struct {
	name string
	load func(t testing.TB, path, name string)
	turn sync.Locker // of those who use the daemon
}

// loaders are all that an export is loaded by.
var loaders = func() (all []loader) {
	for _, e := range engines {
		l := loader{name: e.name, turn: turns[e.name], load: func(t testing.TB, path, name string) {
			e.forget(t, name)
			e.docker(t, "load", "-q", "-i", path)
			runsLayered(t, e.name, e.says(t, name))
		}}
		if e.podman {
			l.load = func(t testing.TB, path, name string) {
				pipelinetest.Env(t, e.key)
				e.forget(t, name)
				defer e.change()()
				tool(t, "OCCYSTRAP_TEST_PODMAN_BIN", "load", "-q", "-i", path)
				runsLayered(t, e.name, e.says(t, name))
			}
		}
		all = append(all, l)
	}
	// Images that others remove take snapshots along that an unpacking has just found:
	// all of these have the same lowest layer.
	return append(all, loader{name: "ctr", load: loadByCtr, turn: &sync.Mutex{}}, loader{name: "skopeo", load: copyBySkopeo, turn: turns["docker29"]})
}()

func loadByCtr(t testing.TB, path, name string) {
	t.Cleanup(func() { ctr(t, "images", "rm", "--sync", name) })
	ctr(t, "images", "import", path)
	runsLayered(t, "containerd", strings.TrimSpace(ctrRun(t, name, probeLayered)))
}

// copyBySkopeo has the image run where it is pulled from what skopeo made of it.
func copyBySkopeo(t testing.TB, path, _ string) {
	ref := repository(t)
	skopeo(t, "copy", "--dest-tls-verify=false", "docker-archive:"+path, "docker://"+ref)
	e := engines[slices.IndexFunc(engines, func(e engine) bool { return e.name == "docker29" })]
	e.forget(t, ref)
	e.docker(t, "pull", "-q", ref)
	runsLayered(t, "what skopeo copied", e.says(t, ref))
}

// says is what the fixture's shell says in a container, by a file: a daemon may
// lose the end of a container's output.
func (e engine) says(t testing.TB, name string) string {
	t.Helper()
	dir := t.TempDir()
	e.docker(t, "run", "--rm", "--network", "none", "-v", dir+":/said", name, "sh", "-c", "("+probeLayered+") >/said/it 2>&1")
	raw, err := os.ReadFile(filepath.Join(dir, "it"))
	must(t, err)
	return strings.TrimSpace(string(raw))
}

func runsLayered(t testing.TB, where, says string) {
	t.Helper()
	if want := builtFixture().plain; says != want {
		t.Errorf("in %s it says\n%s\nwant\n%s", where, says, want)
	}
}
