//go:build integration && linux

package integration

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// pushURI is an image that the daemon is to push to us.
func (e engine) pushURI(t testing.TB, name string) string {
	t.Helper()
	return "dockerpush://" + name + "?socket=" + pipelinetest.Env(t, e.key)
}

// lent is the name under which a process has an image pushed; "" for none.
func (e engine) lent(t testing.TB, image string, pid int) string {
	t.Helper()
	var names []string
	decode(t, e.docker(t, "image", "inspect", "-f", "{{json .RepoTags}}", image), &names)
	for _, name := range names {
		if strings.Contains(name, "/occystrap/lane:") && strings.Contains(name, "."+strconv.Itoa(pid)+".") {
			return name
		}
	}
	return ""
}

// has says whether the daemon has an image. It is not listed: Podman's lists fail
// when other tests remove images.
func (e engine) has(t testing.TB, image string) bool {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), pipelinetest.Env(t, "OCCYSTRAP_TEST_DOCKER"), "-H", pipelinetest.Env(t, e.key), "image", "inspect", image)
	return cmd.Run() == nil
}

// alone has Podman to itself: its store loses names when others come and go.
func (e engine) alone(t testing.TB) {
	t.Helper()
	if e.podman {
		turns[e.name].Lock()
		t.Cleanup(turns[e.name].Unlock)
	}
}

// TestPushedImageGoesEverywhere: from a store that pushes blobs as they are and
// from one that compresses for it, to each kind of place.
func TestPushedImageGoesEverywhere(t *testing.T) {
	t.Parallel()
	to := sinks()
	for _, e := range engines[:2] {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			from := e.pushURI(t, e.build(t))
			for _, name := range []string{"tar", "dir", "oci", "mounts", "registry", "docker29-overlay2"} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					if turn := turns[to[name].chain]; turn != nil {
						turn.Lock()
						t.Cleanup(turn.Unlock)
					}
					uri := to[name].uri(t)
					occystrap(t, "process", "--quiet", from, uri)
					if to[name].look != nil {
						to[name].look(t, uri)
					}
					to[name].judge(t, uri)
				})
			}
			if found := occystrap(t, "search", from, "opt/hard"); !strings.Contains(found, "opt/hard") {
				t.Errorf("search found %q", found)
			}
		})
	}
}

// TestCachedLayersAreNotPushed: what a layer cache knows the outcome of, and the
// destination holds, the daemon does not send.
func TestCachedLayersAreNotPushed(t *testing.T) {
	t.Parallel()
	e := engines[1]
	pipelinetest.Env(t, e.key)
	from, to, dir := e.pushURI(t, e.build(t)), registryURI(repository(t)), t.TempDir()
	for run, cached := range []bool{false, true} {
		file := filepath.Join(dir, "metadata.json")
		occystrap(t, "process", "--quiet", "--layer-cache", filepath.Join(dir, "cache"), "--metadata-file", file,
			"-f", "normalize-timestamps:ts="+changedTime, from, to)
		raw, err := os.ReadFile(file)
		must(t, err)
		var r struct {
			Report struct {
				Read   int64
				Layers []struct{ How string }
			} `json:"occystrap.report"`
		}
		decode(t, string(raw), &r)
		for _, l := range r.Report.Layers {
			if (l.How == "cached") != cached {
				t.Errorf("in run %d a layer is %s", run, l.How)
			}
		}
		if len(r.Report.Layers) == 0 || cached && r.Report.Read > 0 {
			t.Errorf("run %d: %d layers, read %d bytes", run, len(r.Report.Layers), r.Report.Read)
		}
	}
}

// TestPushedIndexKeepsItsDigest: with all of its images, and the attestation.
func TestPushedIndexKeepsItsDigest(t *testing.T) {
	t.Parallel()
	e := engines[1]
	pipelinetest.Env(t, e.key)
	name := e.image(t)
	archive, index := attested(t, name)
	e.docker(t, "load", "-q", "-i", archive)
	if got := e.identity(t, name).manifest; got != index.String() {
		t.Fatalf("the daemon has %s, not %s", got, index)
	}
	path := archivePath(t)
	occystrap(t, "process", "--quiet", e.pushURI(t, name), "tar://"+path)
	out := t.TempDir()
	run(t.Context(), t, nil, nil, "tar", "-xf", path, "-C", out)
	raw, err := os.ReadFile(filepath.Join(out, blobName(index)))
	must(t, err)
	var got ocispec.Index
	decode(t, string(raw), &got)
	for _, d := range got.Manifests {
		if _, err := os.Stat(filepath.Join(out, blobName(d.Digest))); err != nil {
			t.Error(err)
		}
	}
	if len(got.Manifests) != 2 {
		t.Errorf("the index lists %d manifests", len(got.Manifests))
	}
	checked(t, "tar://"+path)
}

// attested is an archive of an index: an image, and what is said of it.
func attested(t testing.TB, name string) (path string, index digest.Digest) {
	t.Helper()
	f := own(t)
	describe := func(mediaType string, raw []byte) ocispec.Descriptor {
		f.blobs = append(f.blobs, raw)
		return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	}
	image := describe(ocispec.MediaTypeImageManifest, f.manifest)
	image.Platform = &ocispec.Platform{OS: "linux", Architecture: "amd64"}
	statement := describe("application/vnd.in-toto+json", []byte(`{"_type":"https://in-toto.io/Statement/v0.1","subject":[]}`))
	about := describe(ocispec.MediaTypeImageManifest, encode(t, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Layers: []ocispec.Descriptor{statement},
		Config: describe(ocispec.MediaTypeImageConfig, encode(t, map[string]any{
			"os": "unknown", "architecture": "unknown", "config": struct{}{},
			"rootfs": map[string]any{"type": "layers", "diff_ids": []digest.Digest{statement.Digest}},
		})),
	}))
	about.Platform = &ocispec.Platform{OS: "unknown", Architecture: "unknown"}
	about.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.Digest.String()}
	f.manifest = encode(t, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{image, about},
	})
	return f.layout(t, ocispec.MediaTypeImageIndex, name), digest.FromBytes(f.manifest)
}

// TestPushTakesNothingAway: an image that has no other name than the one that it
// is lent is there afterwards.
func TestPushTakesNothingAway(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, e engine) {
		e.alone(t)
		name := e.build(t)
		id := strings.TrimSpace(e.docker(t, "image", "inspect", "-f", "{{.Id}}", name))
		e.docker(t, "tag", e.load(t, busybox(t)), name) // so that the image has none
		path := archivePath(t)
		occystrap(t, "process", "--quiet", e.pushURI(t, id), "tar://"+path)
		if got := strings.TrimSpace(e.docker(t, "image", "inspect", "-f", "{{.Id}} {{len .RepoTags}}", id)); got != id+" 0" {
			t.Errorf("the daemon has %s, not %s without a name", got, id)
		}
		runsLayered(t, e.name+" without a name", e.says(t, id))
	})
}

// TestStoppedPushLeavesNothing: a run that is interrupted takes its names along;
// those of one that is killed are removed by the next.
func TestStoppedPushLeavesNothing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, e engine) {
		e.alone(t)
		name := e.build(t)
		for what, end := range map[string]os.Signal{"interrupted": os.Interrupt, "killed": os.Kill} {
			run, lent := toNowhere(t, e.pushURI(t, name)), ""
			eventually(t, "a name of the run", func() error {
				if lent = e.lent(t, name, run.Process.Pid); lent == "" {
					return errors.New("the image has none")
				}
				return nil
			})
			standIn := strings.TrimSuffix(lent, "1") + "0"
			if !e.has(t, standIn) {
				t.Errorf("%s: there is no %s", what, standIn)
			}
			must(t, run.Process.Signal(end))
			if err := run.Wait(); err == nil {
				t.Errorf("%s: it has succeeded", what)
			}
			eventually(t, "the names of the run to go", func() error {
				if end == os.Kill { // Podman may not list them while others change its store
					occystrap(t, "process", "--quiet", e.pushURI(t, name), "tar://"+archivePath(t))
				}
				if e.has(t, lent) || e.has(t, standIn) {
					return errors.New("they are left")
				}
				return nil
			})
		}
		runsLayered(t, e.name+" after runs that were stopped", e.says(t, name))
	})
}

// toNowhere starts a run into a registry that never answers, where it stands
// still.
func toNowhere(t testing.TB, from string) *exec.Cmd {
	t.Helper()
	over := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			select {
			case <-r.Context().Done():
			case <-over:
			}
		}
	}))
	t.Cleanup(func() {
		close(over)
		srv.Close()
	})
	path, err := program()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), path, "process", "--quiet", from, registryURI(strings.TrimPrefix(srv.URL, "http://")+"/nowhere:1"))
	cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir(), "OCCYSTRAP_CONFIG=")
	must(t, cmd.Start())
	return cmd
}

// TestPushFromAnotherNetwork: our 127.0.0.1 is not the daemon's. Nothing is
// pushed, and the next lane is taken.
func TestPushFromAnotherNetwork(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root makes network namespaces")
	}
	onEachDocker(t, func(t *testing.T, e engine) {
		name := e.build(t)
		out, err := elsewhere(t, "process", "--quiet", e.pushURI(t, name), "tar://"+archivePath(t))
		if err == nil || !strings.Contains(out, "127.0.0.1") || !strings.Contains(out, "network") {
			t.Errorf("dockerpush: %v, %s", err, out)
		}
		path := archivePath(t)
		if out, err := elsewhere(t, "process", "--quiet", e.uri(t, name), "tar://"+path); err != nil {
			t.Errorf("docker: %v, %s", err, out)
		}
		checked(t, "tar://"+path)
	})
}

// elsewhere runs the command in a network namespace of its own, whose loopback
// is up.
func elsewhere(t testing.TB, args ...string) (string, error) {
	t.Helper()
	path, err := program()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir(), "OCCYSTRAP_CONFIG=")
	var out []byte
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never given back: the thread ends with the goroutine
		if err = syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			return
		}
		if err = loopbackUp(); err == nil {
			out, err = cmd.CombinedOutput()
		}
	}()
	<-done
	return string(out), err
}

// loopbackUp is "ip link set lo up" (netdevice(7)).
func loopbackUp() error {
	s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(s)
	request := struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}{name: [syscall.IFNAMSIZ]byte{'l', 'o'}, flags: syscall.IFF_UP | syscall.IFF_RUNNING}
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(s), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return errno
	}
	return nil
}
