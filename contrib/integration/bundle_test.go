//go:build integration

package integration

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// runtimes start bundles.
var runtimes = map[string]string{"runc": "OCCYSTRAP_TEST_RUNC", "crun": "OCCYSTRAP_TEST_CRUN"}

// start runs a bundle and returns what it prints. Nothing but the bundle and a
// new folder for its state is given to the runtime.
func start(t testing.TB, runtime, bundle string) string {
	t.Helper()
	if os.Geteuid() != 0 && runtime == "crun" && hybrid() {
		t.Skip("crun does not run here without root: the host has cgroups v1 and v2 side by side")
	}
	state := t.TempDir()
	return run(context.WithoutCancel(t.Context()), t, nil, nil, pipelinetest.Env(t, runtimes[runtime]),
		"--root", state, "run", "--bundle", bundle, "occystrap-"+strings.ToLower(rand.Text()))
}

// hybrid says whether both versions of cgroups are there (contrib/testenv).
func hybrid() bool {
	_, err := os.Stat("/sys/fs/cgroup/unified/cgroup.controllers")
	return err == nil
}

// command gives a bundle another command, as its user would.
func command(t testing.TB, bundle string, args ...string) {
	t.Helper()
	path := filepath.Join(bundle, "config.json")
	raw, err := os.ReadFile(path)
	must(t, err)
	var s specs.Spec
	decode(t, string(raw), &s)
	s.Process.Args = args
	raw, err = json.Marshal(s)
	must(t, err)
	must(t, os.WriteFile(path, raw, 0o600))
}

// checkBundle runs a bundle in every runtime and asks for what the fixture has.
func checkBundle(t testing.TB, bundle string, want expectation) {
	t.Helper()
	command(t, bundle, "sh", "-c", want.fixture.probe)
	for name := range runtimes {
		if out := strings.TrimSpace(start(t, name, bundle)); out != want.says() {
			t.Errorf("in %s the bundle says\n%s\nwant\n%s", name, out, want.says())
		}
	}
}

// judgeBundle lets both runtimes start what was written to uri.
func judgeBundle(t testing.TB, uri string) {
	t.Helper()
	bundle := strings.TrimPrefix(uri, "oci://")
	command(t, bundle, "sh", "-c", probeLayered)
	for name := range runtimes {
		if out := start(t, name, bundle); !strings.HasPrefix(out, saysLayered) {
			t.Errorf("in %s the bundle says\n%s\nwant\n%s", name, out, saysLayered)
		}
	}
}

// TestTarToBundle: runc and crun start what came from an archive.
func TestTarToBundle(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, filtered bool) {
		f, bundle := layered(t), filepath.Join(t.TempDir(), "bundle")
		process(t, "tar://"+f.archive(t, "fixture.test/x:1"), "oci://"+bundle, filtered)
		checkBundle(t, bundle, expectation{fixture: f, filtered: filtered})
	})
}

// TestRegistryToBundle: runc and crun start what came from a registry.
func TestRegistryToBundle(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, filtered bool) {
		f, bundle := layered(t), filepath.Join(t.TempDir(), "bundle")
		process(t, registryURI(push(t, f)), "oci://"+bundle, filtered)
		checkBundle(t, bundle, expectation{fixture: f, filtered: filtered})
	})
}

// TestDockerToBundle: runc and crun start what a daemon built.
func TestDockerToBundle(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, e engine) {
		name := e.build(t)
		eachWay(t, func(t *testing.T, filtered bool) {
			bundle := filepath.Join(t.TempDir(), "bundle")
			process(t, e.uri(t, name), "oci://"+bundle, filtered)
			checkBundle(t, bundle, expectation{fixture: builtFixture(), filtered: filtered})
		})
	})
}

// What the process of a bundle is asked for, and answers as root's bundle.
const (
	probeProcess = `id -u; id -g; id -G; pwd; hostname; echo $GREETING "$0 $1"; cat /data/seed; touch /tmp/written && echo writable; stat -c %a /data; echo $$`
	saysProcess  = "1000\n1000\n1000 3000\n/work\noccystrap\nhello one two\nseed\nwritable\n1777\n1"
)

// processFixture is busybox with a user, a directory and a volume of its own.
func processFixture(t testing.TB) string {
	t.Helper()
	files := pipelinetest.Tar(t,
		pipelinetest.File{Name: "etc/passwd", Body: "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/work:/bin/sh\n"},
		pipelinetest.File{Name: "etc/group", Body: "root:x:0:\napp:x:1000:\nextra:x:3000:app\n"},
		pipelinetest.File{Name: "data", Type: tar.TypeDir, Mode: 0o1777}, pipelinetest.File{Name: "data/seed", Body: "seed\n"})
	store := pipelinetest.NewStore()
	desc := store.Image(t, pipelinetest.Image{
		Compression: pipeline.Gzip, Layers: [][]byte{gunzip(t, busyboxBlobs(t)[busyboxLayer]), files},
		Config: ocispec.ImageConfig{
			User: "app", Env: []string{"PATH=/bin:/sbin:/usr/bin", "GREETING=hello"}, WorkingDir: "/work",
			Entrypoint: []string{"sh", "-c", probeProcess}, Cmd: []string{"one", "two"}, Volumes: map[string]struct{}{"/data": {}},
		},
	})
	f := fixture{name: "process", manifest: store.Bytes(desc.Digest)}
	f.addBlobs(t, store)
	return f.archive(t, "fixture.test/process:1")
}

// TestBundleRunsAsItsImageSays: entrypoint and command, environment, user and
// groups, working directory, host name; volumes both ways.
func TestBundleRunsAsItsImageSays(t *testing.T) {
	t.Parallel()
	for _, query := range []string{"", "?volumes=tmpfs"} {
		t.Run("oci"+query, func(t *testing.T) {
			t.Parallel()
			bundle := filepath.Join(t.TempDir(), "bundle")
			process(t, "tar://"+processFixture(t), "oci://"+bundle+query, false)
			for name := range runtimes {
				if out := strings.TrimSpace(start(t, name, bundle)); out != saysProcess {
					t.Errorf("in %s the bundle says\n%s\nwant\n%s", name, out, saysProcess)
				}
			}
		})
	}
}

// TestRootlessBundleStarts: an ordinary user makes a bundle and starts it. As
// root, the test runs itself as nobody, and starts a rootless bundle as root.
func TestRootlessBundleStarts(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bundle")
	says := "0\n0\n" + strings.TrimPrefix(saysProcess, "1000\n1000\n1000 3000\n")
	probe := strings.Replace(probeProcess, "id -G; ", "", 1) // nobody's own groups differ
	runIt := func(t *testing.T, runtime string) {
		t.Helper()
		if out := strings.TrimSpace(start(t, runtime, path)); out != says {
			t.Errorf("in %s the bundle says\n%s\nwant\n%s", runtime, out, says)
		}
	}
	process(t, "tar://"+processFixture(t), "oci://"+path+"?rootless=true", false)
	command(t, path, "sh", "-c", probe, "one", "two")
	for name := range runtimes {
		t.Run(name, func(t *testing.T) { t.Parallel(); runIt(t, name) })
	}
	if os.Geteuid() == 0 {
		asNobody(t, "^TestRootlessBundleStarts$")
	}
}

// asNobody runs tests of this binary as nobody, in this folder.
func asNobody(t *testing.T, tests string) {
	t.Helper()
	const nobody = 65534
	home, err := os.MkdirTemp("", "occystrap-nobody") //nolint:usetesting // nobody must get there
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	exe := filepath.Join(home, "test")
	pipelinetest.CopyProgram(t, os.Args[0], exe)
	must(t, os.Chown(home, nobody, nobody))
	// The environment's file is root's alone: it has a password.
	env := filepath.Join(home, "env")
	var tools strings.Builder
	for _, key := range runtimes {
		tools.WriteString(key + "=" + pipelinetest.Env(t, key) + "\n")
	}
	must(t, os.WriteFile(env, []byte(tools.String()), 0o644))
	cmd := exec.CommandContext(t.Context(), exe, "-test.v", "-test.run="+tests)
	cmd.Env = append(os.Environ(), "TMPDIR="+home, "HOME="+home, "XDG_RUNTIME_DIR="+home, "OCCYSTRAP_TEST_ENV="+env)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	t.Logf("as nobody:\n%s", out)
	if err != nil {
		t.Error(err)
	}
}
