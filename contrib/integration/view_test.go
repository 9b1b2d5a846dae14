//go:build integration && linux

package integration

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// look starts the lanes daemon with two sockets, as systemd passes them, and as the
// user that its unit gives it; it returns where the view is.
func look(t testing.TB, e engine, namespaces ...string) string {
	t.Helper()
	dir := open(t)
	containerd, _ := e.roots(t)
	config := filepath.Join(dir, "config.toml")
	must(t, os.WriteFile(config, fmt.Appendf(nil,
		"[lanes]\ngroup = \"%d\"\n[[lanes.containerd]]\nroot = %q\nnamespaces = [\"%s\"]\n", memberGroup, containerd, strings.Join(namespaces, `", "`)), 0o644))
	control, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unixpacket"})
	must(t, err)
	defer control.Close()
	seen, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	defer seen.Close()
	var files []*os.File
	for _, l := range []interface{ File() (*os.File, error) }{control, seen} {
		f, err := l.File()
		must(t, err)
		defer f.Close()
		files = append(files, f)
	}
	// The shell becomes the daemon: LISTEN_PID is its own.
	launchWith(t, files, readsAll(t), []string{"LISTEN_FDS=2", "LISTEN_FDNAMES=control:view"}, "/bin/sh",
		"-c", `LISTEN_PID=$$ exec "$@"`, "sh", installed(t, dir, "occystrapd"), "lanes", "--config", config, "--idle", "0s")
	at := seen.Addr().String()
	eventually(t, "the view answers", func() error {
		r, err := http.Get("http://" + at + "/v2/")
		if err != nil {
			return err
		}
		if r.StatusCode != http.StatusOK {
			t.Errorf("/v2/ is %s", r.Status)
		}
		return r.Body.Close()
	})
	return at
}

// What Docker has on containerd's store comes out of the view as it is there: with
// crane, skopeo and regctl, and containerd itself pulls it by ns.
func TestTheViewServesTheImagesOfTheEngine(t *testing.T) {
	t.Parallel()
	e := engines[slices.IndexFunc(engines, func(e engine) bool { return e.name == "docker29" })]
	name := e.load(t, layered(t))
	want := e.identity(t, name)
	at := look(t, e, "moby")
	ref := at + "/" + name
	if got := strings.TrimSpace(crane(t, "digest", ref)); got != want.manifest {
		t.Errorf("crane sees %s, the engine has %s", got, want.manifest)
	}
	crane(t, "validate", "--remote", ref)
	repository, tag, _ := strings.Cut(name, ":")
	if got := crane(t, "ls", at+"/"+repository); strings.TrimSpace(got) != tag {
		t.Errorf("its tags are %q", got)
	}
	path := archivePath(t)
	skopeo(t, "copy", "--preserve-digests", "--src-tls-verify=false", "docker://"+ref, "oci-archive:"+path)
	if got := archiveIdentity(t, path); !slices.Equal(got.diffIDs, want.diffIDs) {
		t.Errorf("skopeo got %+v, the engine has %+v", got, want)
	}
	layout := t.TempDir()
	tool(t, "OCCYSTRAP_TEST_REGCTL", "--host", "reg="+at+",tls=disabled", "image", "copy", ref, "ocidir://"+layout+":1")
	if got := strings.TrimSpace(tool(t, "OCCYSTRAP_TEST_REGCTL", "image", "digest", "ocidir://"+layout+":1")); got != want.manifest {
		t.Errorf("regctl got %s, the engine has %s", got, want.manifest)
	}

	hosts := t.TempDir()
	host, _, _ := strings.Cut(name, "/")
	must(t, os.Mkdir(filepath.Join(hosts, host), 0o755))
	must(t, os.WriteFile(filepath.Join(hosts, host, "hosts.toml"), fmt.Appendf(nil, "server = \"http://%s\"\n[host.\"http://%[1]s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", at), 0o644))
	t.Cleanup(func() {
		if ctrDigest(t, name) != "" {
			ctr(t, "images", "rm", "--sync", name)
		}
	})
	for _, how := range [][]string{{"--local"}, nil} { // ctr's own pull, and containerd's transfer service
		ctr(t, slices.Concat([]string{"images", "pull", "--hosts-dir", hosts}, how, []string{name})...)
		if got := ctrDigest(t, name); got != want.manifest {
			t.Errorf("ctr %v pulled %s, the engine has %s", how, got, want.manifest)
		}
	}
}

// Neither a namespace that the settings do not list is seen, nor is anything taken.
func TestTheViewIsOfItsNamespacesAndToBeRead(t *testing.T) {
	t.Parallel()
	e := engines[slices.IndexFunc(engines, func(e engine) bool { return e.name == "docker29" })]
	pipelinetest.Env(t, e.key)
	name := ctrImage(t)
	ctr(t, "images", "import", busybox(t).archive(t, name))
	if d, ok := tryDigest(t, look(t, e, "moby")+"/"+name); ok {
		t.Errorf("an image of another namespace is seen: %s", d)
	}
	at := look(t, e, "moby", ctrNamespace(t))
	d, ok := tryDigest(t, at+"/"+name)
	if !ok || d != ctrDigest(t, name) {
		t.Errorf("the view has %q, containerd %s", d, ctrDigest(t, name))
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+at+"/v2/x/blobs/uploads/", nil)
	must(t, err)
	a, err := http.DefaultClient.Do(r)
	must(t, err)
	must(t, a.Body.Close())
	if a.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a push is answered with %s", a.Status)
	}
}
