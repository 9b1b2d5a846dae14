//go:build integration

package integration

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// An engine is a real daemon.
type engine struct {
	name, key string
	// manifests: the store keeps manifests, and counts images by their digest.
	manifests bool
	podman    bool
}

var engines = []engine{
	{name: "docker20", key: "OCCYSTRAP_TEST_DOCKER20"},
	{name: "docker29", key: "OCCYSTRAP_TEST_DOCKER29", manifests: true},
	{name: "docker29-overlay2", key: "OCCYSTRAP_TEST_DOCKER29_OVERLAY2"},
	{name: "podman", key: "OCCYSTRAP_TEST_PODMAN", podman: true},
}

// onEach runs a test for every daemon.
func onEach(t *testing.T, test func(t *testing.T, e engine)) {
	t.Helper()
	onEachOf(t, engines, test)
}

// onEachDocker leaves Podman out, for what is Docker's own.
func onEachDocker(t *testing.T, test func(t *testing.T, e engine)) {
	t.Helper()
	onEachOf(t, slices.DeleteFunc(slices.Clone(engines), func(e engine) bool { return e.podman }), test)
}

func onEachOf(t *testing.T, engines []engine, test func(t *testing.T, e engine)) {
	t.Helper()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			pipelinetest.Env(t, e.key)
			test(t, e)
		})
	}
}

// docker runs the Docker CLI against the daemon.
func (e engine) docker(t testing.TB, args ...string) string {
	t.Helper()
	host := pipelinetest.Env(t, e.key)
	if slices.Contains([]string{"load", "rmi", "tag", "pull"}, args[0]) {
		defer e.change()()
	}
	return tool(t, "OCCYSTRAP_TEST_DOCKER", append([]string{"-H", host}, args...)...)
}

// uri is an image of the daemon.
func (e engine) uri(t testing.TB, name string) string {
	t.Helper()
	return "docker://" + name + "?socket=" + pipelinetest.Env(t, e.key)
}

// image is a new name in the daemon; what has it when the test ends is removed.
func (e engine) image(t testing.TB) string {
	t.Helper()
	e.hold(t)
	name := "occystrap.test/" + strings.ToLower(rand.Text()) + ":1"
	e.forget(t, name)
	return name
}

// turns keep apart those who load one image into one daemon and remove it again:
// daemons lose names when others of the image come and go. Whoever waits for one
// has no parallel subtests, which would wait for the place that he holds.
var turns = func() map[string]*sync.Mutex {
	all := map[string]*sync.Mutex{}
	for _, e := range engines {
		all[e.name] = &sync.Mutex{}
	}
	return all
}()

// podmanStore is held by whoever changes what Podman has: Podman 4.3 reads the
// names of an image and writes them again, so that of two who give it a name at
// once one loses his. It is held for one command only.
var podmanStore sync.Mutex

// change begins to change what the daemon has; the function returned ends it.
func (e engine) change() func() {
	if !e.podman {
		return func() {}
	}
	podmanStore.Lock()
	return podmanStore.Unlock
}

// changes is the same for a run of ours, which may be one into Podman, or one that
// has it push.
func changes(args ...string) func() {
	for n, arg := range args {
		podman := strings.Contains(arg, "podman.sock")
		if podman && (n == len(args)-1 || n > 1 || strings.Contains(arg, "push")) {
			return engine{podman: true}.change()
		}
	}
	return func() {}
}

// held has a lock for each engine that has its busybox.
var held = func() map[string]*sync.Once {
	all := map[string]*sync.Once{}
	for _, e := range engines {
		all[e.name] = &sync.Once{}
	}
	return all
}()

// heldName is the name of busybox in every daemon.
const heldName = "occystrap.test/held:1"

// hold gives the daemon busybox under a name that no test removes. All tests build
// upon it, and a daemon that removes an image takes layers away from those who are
// about to use them.
func (e engine) hold(t testing.TB) {
	t.Helper()
	held[e.name].Do(func() { e.docker(t, "load", "-q", "-i", busybox(t).archive(t, heldName)) })
}

// forget removes an image when the test ends, if it is there then.
func (e engine) forget(t testing.TB, ref string) {
	t.Helper()
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		find := exec.CommandContext(ctx, pipelinetest.Env(t, "OCCYSTRAP_TEST_DOCKER"), "-H", pipelinetest.Env(t, e.key), "image", "inspect", ref)
		if find.Run() == nil {
			e.docker(t, "rmi", "-f", ref)
		}
	})
}

// load puts the archive of a fixture into the daemon, without us.
func (e engine) load(t testing.TB, i fixture) string {
	t.Helper()
	name := e.image(t)
	e.docker(t, "load", "-q", "-i", i.archive(t, name))
	return name
}

// build makes an image of several layers in the daemon: hard links, links,
// modes, and files that a later layer deletes or replaces.
func (e engine) build(t testing.TB) string {
	t.Helper()
	name := e.image(t)
	host := pipelinetest.Env(t, e.key)
	ctx := context.WithoutCancel(t.Context())
	func() {
		defer e.change()()
		run(ctx, t, []string{"DOCKER_BUILDKIT=0"}, strings.NewReader(dockerfile(heldName)), pipelinetest.Env(t, "OCCYSTRAP_TEST_DOCKER"),
			"-H", host, "build", "--rm", "--force-rm", "--no-cache", "--network", "none", "-t", name, "-")
	}()
	// A test may give the name to another image.
	e.forget(t, strings.TrimSpace(e.docker(t, "image", "inspect", "-f", "{{.Id}}", name)))
	return name
}

// identity is what the daemon says of an image.
func (e engine) identity(t testing.TB, name string) identity {
	t.Helper()
	var found []struct {
		ID          string `json:"Id"`
		RepoDigests []string
		RootFS      struct{ Layers []string }
	}
	decode(t, e.docker(t, "image", "inspect", name), &found)
	id := identity{diffIDs: found[0].RootFS.Layers}
	if e.manifests {
		id.manifest = found[0].ID
		return id
	}
	id.config = found[0].ID
	if e.podman && len(found[0].RepoDigests) == 1 {
		_, id.manifest, _ = strings.Cut(found[0].RepoDigests[0], "@")
	}
	return id
}

// check runs the image and compares it with what it should be.
func (e engine) check(t testing.TB, name string, want expectation) {
	t.Helper()
	got := e.identity(t, name)
	if e.podman && !want.manifestKept {
		got.manifest = ""
	}
	want.compare(t, "in "+e.name, got)
	out := e.docker(t, "run", "--rm", "--network", "none", name, "sh", "-c", want.fixture.probe)
	if out = strings.TrimSpace(out); out != want.says() {
		t.Errorf("%s in %s says\n%s\nwant\n%s", name, e.name, out, want.says())
	}
}

func decode(t testing.TB, s string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), v); err != nil {
		t.Fatalf("%v in %.200s", err, s)
	}
}
