//go:build integration && linux

package integration

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// TestImagesUponLayersThatAreThereAreWhole: after an archive without the layers
// that a graph driver has, and after a pull onto a store that has the same layers
// in another compression, the image runs, is pushed and is saved whole.
func TestImagesUponLayersThatAreThereAreWhole(t *testing.T) {
	t.Parallel()
	onEachDocker(t, func(t *testing.T, e engine) {
		for _, lane := range []string{"load", "pull"} {
			t.Run(lane, func(t *testing.T) {
				t.Parallel()
				f := own(t)
				path, first, name := f.archive(t, "fixture.test/x:1"), e.image(t), e.image(t)
				occystrap(t, "process", "--quiet", "tar://"+path, e.uri(t, first), "-f", "recompress:gzip,level=1")
				by(t, lane, "destination", "tar://"+path, e.uri(t, name)+"&lane="+lane)
				want := expectation{fixture: f, from: archiveIdentity(t, path)}
				want.compare(t, "in "+e.name, e.identity(t, name))
				runsLayered(t, e.name+" by lane "+lane, e.says(t, name))
				e.isWhole(t, name, want)
			})
		}
	})
}

// isWhole has the daemon push and save an image, and other programs read what
// came.
func (e engine) isWhole(t testing.TB, name string, want expectation) {
	t.Helper()
	ref := repository(t)
	e.docker(t, "tag", name, ref)
	e.forget(t, ref)
	e.docker(t, "push", "-q", ref)
	skopeo(t, "copy", "--src-tls-verify=false", "docker://"+ref, "dir:"+t.TempDir()) // reads every layer
	if !e.manifests {
		want.from.manifest = "" // it makes one of its own
	}
	want.compare(t, "pushed by "+e.name, registryIdentity(t, ref))
	saved := archivePath(t)
	e.docker(t, "save", "-o", saved, name)
	checked(t, "tar://"+saved)
}

// overSSH runs the command where ssh knows the machine of the test environment.
func overSSH(t testing.TB, args ...string) {
	t.Helper()
	path, err := program()
	must(t, err)
	env := []string{
		"PATH=" + pipelinetest.Env(t, "OCCYSTRAP_TEST_SSH_BIN") + string(os.PathListSeparator) + os.Getenv("PATH"),
		"DOCKER_CONFIG=" + t.TempDir(), "XDG_CONFIG_HOME=" + t.TempDir(), "OCCYSTRAP_CONFIG=",
	}
	run(t.Context(), t, env, nil, path, args...)
}

// TestCopyToAnotherMachineMovesWhatItLacks: over ssh, with nothing there but
// Docker: containerd's store pulls through a port that ssh leads there, a graph
// driver is sent the layers that it lacks. The image runs there, and is whole.
func TestCopyToAnotherMachineMovesWhatItLacks(t *testing.T) {
	t.Parallel()
	onEachDocker(t, func(t *testing.T, e engine) {
		from := engines[0]
		if e.name == from.name {
			from = engines[1]
		}
		there := pipelinetest.Env(t, "OCCYSTRAP_TEST_SSH") + strings.TrimPrefix(pipelinetest.Env(t, e.key), "unix://")
		before, after := twoVersions(t)
		e.load(t, before)
		name := from.load(t, after)
		e.forget(t, name)
		overSSH(t, "-H", pipelinetest.Env(t, from.key), "copy", name, "--to-host", there, "--quiet")
		want := expectation{fixture: after, from: archiveIdentity(t, after.archive(t, name))}
		want.from.manifest = "" // a graph driver exports plain layers
		want.compare(t, "over there", e.identity(t, name))
		e.docker(t, "run", "--rm", "--network", "none", name, "sh", "-c", "[ -e /below ] && [ -e /above ]")
		e.isWhole(t, name, want)
	})
}

// twoVersions are an image, and the same with a layer on top; nobody else has
// their layers.
func twoVersions(t testing.TB) (before, after fixture) {
	t.Helper()
	layer := func(name string) []byte {
		return pipelinetest.Tar(t, pipelinetest.File{Name: name, Body: rootName(t) + digest.FromString(t.TempDir()).String()})
	}
	layers := [][]byte{gunzip(t, busyboxBlobs(t)[busyboxLayer]), layer("below"), layer("above")}
	version := func(name string, layers [][]byte) fixture {
		store := pipelinetest.NewStore()
		desc := store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: layers})
		f := fixture{name: name, manifest: store.Bytes(desc.Digest)}
		f.addBlobs(t, store)
		return f
	}
	return version("before", layers[:2]), version("after", layers)
}

// TestDaemonToDaemonMovesTheNewLayerAlone: between two daemons of this machine.
func TestDaemonToDaemonMovesTheNewLayerAlone(t *testing.T) {
	t.Parallel()
	source := engines[1] // containerd's store, whose layers are compressed
	for _, e := range []engine{engines[0], engines[2]} {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			before, after := twoVersions(t)
			e.load(t, before)
			name := source.load(t, after)
			e.forget(t, name)
			file := filepath.Join(t.TempDir(), "metadata.json")
			occystrap(t, "process", "--quiet", source.uri(t, name), e.uri(t, name), "--metadata-file", file)
			raw, err := os.ReadFile(file)
			must(t, err)
			var said struct {
				Report struct{ Layers []struct{ How string } } `json:"occystrap.report"`
			}
			decode(t, string(raw), &said)
			var hows []string
			for _, l := range said.Report.Layers {
				hows = append(hows, l.How)
			}
			if got := strings.Join(hows, " "); got != "held held copied" {
				t.Errorf("the layers went %q; want the new one alone", got)
			}
			e.isWhole(t, name, expectation{fixture: after, from: archiveIdentity(t, after.archive(t, name))})
		})
	}
}

// TestKilledPullLeavesNothing: a run that is killed while the daemon pulls from it
// gives no name, and leaves none; the next one does what it was to do.
func TestKilledPullLeavesNothing(t *testing.T) {
	t.Parallel()
	onEachDocker(t, func(t *testing.T, e engine) {
		f, name := own(t), e.image(t)
		archive := f.archive(t, "fixture.test/x:1")
		host, stalled, goOn := stalling(t)
		occystrap(t, "process", "--quiet", "tar://"+archive, registryURI(host+"/x:1"))
		path, err := program()
		must(t, err)
		cmd := exec.CommandContext(t.Context(), path, "process", registryURI(host+"/x:1"), e.uri(t, name)+"&lane=pull")
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		must(t, cmd.Start())
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-stalled:
		case err := <-ended:
			t.Fatalf("the run ended before the daemon pulled: %v\n%s", err, &said)
		}
		must(t, cmd.Process.Kill())
		if err := <-ended; err == nil {
			t.Error("the run that was killed has succeeded")
		}
		pid := "." + strconv.Itoa(cmd.Process.Pid) + "." // as package process writes it
		if out := e.docker(t, "images", "--format", "{{.Repository}}:{{.Tag}}"); strings.Contains(out, name) {
			t.Errorf("the killed run has named an image:\n%s", out)
		}
		goOn()
		by(t, "pull", "destination", registryURI(host+"/x:1"), e.uri(t, name)+"&lane=pull")
		runsLayered(t, e.name, e.says(t, name))
		for line := range strings.Lines(e.docker(t, "images", "--format", "{{.Repository}}:{{.Tag}}")) {
			if strings.Contains(line, "/occystrap/pulled:") && strings.Contains(line, pid) {
				t.Errorf("a name of the killed run is left: %s", line)
			}
		}
	})
}

// stalling is a registry that takes images, and gives no layer before goOn is
// called; stalled is closed when one is asked for.
func stalling(t testing.TB) (host string, stalled <-chan struct{}, goOn func()) {
	t.Helper()
	asked, open := make(chan struct{}), make(chan struct{})
	var once, opened sync.Once
	goOn = func() { opened.Do(func() { close(open) }) }
	inner := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			head := httptest.NewRecorder()
			inner.ServeHTTP(head, r.Clone(r.Context()))
			if bytes.HasPrefix(head.Body.Bytes(), []byte{0x1f, 0x8b}) { // gzip: no config
				once.Do(func() { close(asked) })
				select {
				case <-open:
				case <-r.Context().Done():
				}
			}
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(goOn)
	return strings.TrimPrefix(srv.URL, "http://"), asked, goOn
}
