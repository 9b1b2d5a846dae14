//go:build integration && linux

package integration

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// versions are busybox with a layer that no other test has, and that with one
// more.
func versions(t testing.TB) (first, second fixture) {
	t.Helper()
	store, own := pipelinetest.NewStore(), rand.Text()
	layers := [][]byte{
		gunzip(t, busyboxBlobs(t)[busyboxLayer]),
		pipelinetest.Tar(t, pipelinetest.File{Name: "own", Body: own}),
		pipelinetest.Tar(t, pipelinetest.File{Name: "top", Body: "top of " + own}),
	}
	image := func(layers [][]byte) fixture {
		desc := store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: layers})
		f := fixture{name: "versions", manifest: store.Bytes(desc.Digest), probe: "cat /own; [ ! -e /top ] || cat /top", plain: own}
		f.addBlobs(t, store)
		return f
	}
	first, second = image(layers[:2]), image(layers)
	second.plain = own + "top of " + own
	return first, second
}

// identity is what of a fixture no store changes.
func (f fixture) identity(t testing.TB) identity {
	t.Helper()
	var m ocispec.Manifest
	decode(t, string(f.manifest), &m)
	for _, b := range f.blobs {
		if digest.FromBytes(b) == m.Config.Digest {
			return identity{diffIDs: newIdentity(t, string(f.manifest), string(b)).diffIDs}
		}
	}
	t.Fatal("the fixture has no config")
	return identity{}
}

// partial writes an archive of a fixture, compressed with zstd, without the layers
// that an inventory lists.
func partial(t testing.TB, f fixture, have string) string {
	t.Helper()
	whole, delta := archivePath(t), archivePath(t)
	occystrap(t, "process", "--quiet", "tar://"+f.archive(t, "fixture.test/x:1"), "tar://"+whole, "-f", "recompress:compression=zstd")
	occystrap(t, "process", "--quiet", "tar://"+whole, "tar://"+delta+"?have="+have)
	if a, b := sizeOf(t, whole), sizeOf(t, delta); b > a/2 {
		t.Errorf("of %d bytes %d are in the partial archive", a, b)
	}
	return delta
}

func sizeOf(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	return info.Size()
}

// inventoryOf lists what a place has.
func inventoryOf(t testing.TB, uri string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "have.json")
	occystrap(t, "inventory", uri, "-o", path)
	return path
}

// refused runs a program that must fail, and returns what it says.
func refused(t testing.TB, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, args...)
	cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+t.TempDir(), "OCCYSTRAP_CONFIG=")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("%s %s succeeds:\n%s", filepath.Base(program), strings.Join(args, " "), out)
	}
	return string(out)
}

// What an inventory of a daemon lists is left out, also of an archive with other
// compression, and the image is whole in the daemon. What is not there is named,
// and nothing is published.
func TestPartialArchivesReachTheDaemon(t *testing.T) {
	t.Parallel()
	onEachDocker(t, func(t *testing.T, e engine) {
		first, second := versions(t)
		e.load(t, first)
		delta, name := partial(t, second, inventoryOf(t, e.uri(t, ""))), e.image(t)
		occystrap(t, "process", "--quiet", "tar://"+delta, e.uri(t, name))
		e.check(t, name, expectation{fixture: second, from: second.identity(t)})
		saved := archivePath(t)
		e.docker(t, "save", "-o", saved, name)
		kind := "docker-archive:"
		if e.manifests {
			kind = "oci-archive:"
		}
		skopeo(t, "copy", kind+saved, "dir:"+t.TempDir()) // it reads every layer

		_, strange := versions(t)
		none := e.image(t)
		path, err := program()
		must(t, err)
		delta = partial(t, strange, inventoryOf(t, "tar://"+strange.archive(t, "fixture.test/x:1")))
		said := refused(t, path, "process", "tar://"+delta, e.uri(t, none))
		if !strings.Contains(said, "it lacks 2 of the layers") || strings.Contains(said, "panic") {
			t.Errorf("of a layer that is nowhere it says\n%s", said)
		}
		refused(t, pipelinetest.Env(t, "OCCYSTRAP_TEST_DOCKER"), "-H", pipelinetest.Env(t, e.key), "image", "inspect", none)
	})
}

// Where a load takes whole images only, what was left out comes out of the daemon's
// other images: Podman's, and a content store that is reached by the Engine API
// alone.
func TestPartialArchivesAreCompletedFromTheDaemon(t *testing.T) {
	t.Parallel()
	for lane, e := range map[string]engine{"load": engines[1], "pull": engines[1], "podman": engines[3]} {
		t.Run(lane, func(t *testing.T) {
			t.Parallel()
			first, second := versions(t)
			e.load(t, first)
			delta, name := partial(t, second, inventoryOf(t, e.uri(t, ""))), e.image(t)
			to := e.uri(t, name)
			if !e.podman {
				to += "&lane=" + lane
			}
			occystrap(t, "process", "--quiet", "tar://"+delta, to)
			e.check(t, name, expectation{fixture: second, from: second.identity(t)})
			_, strange := versions(t)
			path, err := program()
			must(t, err)
			delta = partial(t, strange, inventoryOf(t, "tar://"+strange.archive(t, "fixture.test/x:1")))
			if said := refused(t, path, "process", "tar://"+delta, to); !strings.Contains(said, "it lacks 2 of the layers") {
				t.Errorf("of a layer that is nowhere it says\n%s", said)
			}
		})
	}
}

// The verbs of Docker, by way of volumes and a ledger.
func TestSaveAndLoadAsDockerDoes(t *testing.T) {
	t.Parallel()
	onEachDocker(t, func(t *testing.T, e engine) {
		first, second := versions(t)
		host, dir := pipelinetest.Env(t, e.key), t.TempDir()
		a, b := e.load(t, first), e.load(t, second)
		one, two, ledger := filepath.Join(dir, "1.tar"), filepath.Join(dir, "2.tar"), filepath.Join(dir, "site.json")
		occystrap(t, "-H", host, "save", a, "-o", one, "--ledger", ledger, "--split", "64k")
		occystrap(t, "-H", host, "save", a, b, "-o", two, "--ledger", ledger)
		sums := exec.CommandContext(t.Context(), "sha256sum", "-c", "--quiet", "SHA256SUMS")
		sums.Dir = dir
		if out, err := sums.CombinedOutput(); err != nil {
			t.Errorf("sha256sum: %v\n%s", err, out)
		}
		if n := sizeOf(t, two); n > 100<<10 {
			t.Errorf("what the ledger records is sent again: %d bytes", n)
		}
		e.docker(t, "rmi", "-f", b)
		for _, path := range []string{one, two} {
			if said := occystrap(t, "-H", host, "load", "-q", "-i", path); !strings.Contains(said, "Loaded image: "+a+"\n") {
				t.Errorf("load says %q", said)
			}
		}
		e.check(t, b, expectation{fixture: second, from: second.identity(t)})
	})
}

// The same in containerd, whose inventory is of one namespace.
func TestPartialArchivesReachContainerd(t *testing.T) {
	t.Parallel()
	first, second := versions(t)
	ctr(t, "images", "import", first.archive(t, ctrImage(t)))
	delta, name := partial(t, second, inventoryOf(t, ctrURI(t, ""))), ctrImage(t)
	occystrap(t, "process", "--quiet", "tar://"+delta, ctrURI(t, name))
	if out := strings.TrimSpace(ctrRun(t, name, second.probe)); out != second.plain {
		t.Errorf("%s says %q, not %q", name, out, second.plain)
	}
	if out := ctr(t, "images", "check", "name=="+name); !strings.Contains(out, "complete (") {
		t.Errorf("ctr says\n%s", out)
	}
	path, err := program()
	must(t, err)
	said := refused(t, path, "inventory", strings.Replace(ctrURI(t, ""), "?namespace=", "?namespace=none-", 1))
	if !strings.Contains(said, "no namespace none-") {
		t.Errorf("of a namespace that is not there it says\n%s", said)
	}
}

// Nobody takes a partial archive for a whole one.
func TestOtherProgramsRefusePartialArchives(t *testing.T) {
	t.Parallel()
	first, second := versions(t)
	whole := first.archive(t, "fixture.test/whole:1")
	delta := partial(t, second, inventoryOf(t, "tar://"+whole))
	readers := map[string][]string{
		"OCCYSTRAP_TEST_CRANE":  {"validate", "--tarball"},
		"OCCYSTRAP_TEST_SKOPEO": {"inspect", "oci-archive:"},
	}
	for key, args := range readers {
		with := func(path string) []string {
			if last := args[len(args)-1]; strings.HasSuffix(last, ":") {
				return append(args[:len(args)-1:len(args)-1], last+path)
			}
			return append(args[:len(args):len(args)], path)
		}
		tool(t, key, with(whole)...)
		refused(t, pipelinetest.Env(t, key), with(delta)...)
	}
	refused(t, pipelinetest.Env(t, "OCCYSTRAP_TEST_SKOPEO"), "inspect", "docker-archive:"+delta)
	refused(t, pipelinetest.Env(t, "OCCYSTRAP_TEST_CTR"), "--address", pipelinetest.Env(t, "OCCYSTRAP_TEST_CONTAINERD"), "--namespace", ctrNamespace(t), "images", "import", delta)
	for _, e := range engines {
		e.load(t, first) // where all that the archive leaves out is, it would be taken if anywhere
		refused(t, pipelinetest.Env(t, "OCCYSTRAP_TEST_DOCKER"), "-H", pipelinetest.Env(t, e.key), "load", "-i", delta)
	}
	refused(t, pipelinetest.Env(t, "OCCYSTRAP_TEST_PODMAN_BIN"), "--url", pipelinetest.Env(t, "OCCYSTRAP_TEST_PODMAN"), "load", "-i", delta)
	var list struct {
		Omitted []json.RawMessage `json:"omitted"`
	}
	decode(t, run(t.Context(), t, nil, nil, "tar", "-xOf", delta, "occystrap-partial.json"), &list)
	if len(list.Omitted) != 2 {
		t.Errorf("it says that %d layers are left out, not 2", len(list.Omitted))
	}
}
