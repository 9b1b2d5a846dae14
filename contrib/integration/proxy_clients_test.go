//go:build integration && linux

package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// A client is a program that pushes and pulls, with a place of its own for images.
type client struct {
	name string
	// whole: it keeps manifests and indexes as they are.
	whole bool
	// open makes the place, for one subtest.
	open func(t testing.TB) imagePlace
}

// An imagePlace is where a client has its images.
type imagePlace interface {
	// push puts the image of an OCI archive, which is called name in it, to a registry. It
	// says the digest where that may be another each time; else "".
	push(t testing.TB, archive, name, to string) string
	// pull gets an image that the place does not have, and says its digest.
	pull(t testing.TB, from string) string
}

// clients are all that the proxy has to serve.
func clients() []client {
	all := []client{
		{"podman", false, func(t testing.TB) imagePlace { return newPodman(t) }},
		{"skopeo", true, func(testing.TB) imagePlace { return skopeoPlace{} }},
		{"crane", true, func(testing.TB) imagePlace { return cranePlace{} }},
		{"regctl", true, func(testing.TB) imagePlace { return regctlPlace{} }},
		{"ctr", true, func(testing.TB) imagePlace { return ctrPlace{local: true} }},
		{"ctr-transfer", true, func(testing.TB) imagePlace { return ctrPlace{} }},
	}
	for _, e := range engines {
		if !e.podman {
			all = append(all, client{e.name, e.manifests, func(testing.TB) imagePlace { return dockerPlace{e} }})
		}
	}
	return all
}

// eachClient runs a test for every client that is there.
func eachClient(t *testing.T, whole bool, test func(t *testing.T, c client)) {
	t.Helper()
	for _, c := range clients() {
		if whole && !c.whole {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			test(t, c)
		})
	}
}

// TestClientsPushThroughTheProxy: what arrives downstream is what the client would
// have put there itself; with a filter, what "occystrap process" makes of that. The
// client pulls it again.
func TestClientsPushThroughTheProxy(t *testing.T) {
	t.Parallel()
	plain := startBetween(t, downstream(t), "")
	filtering := startBetween(t, downstream(t), filtersTOML(normalized))
	eachClient(t, false, func(t *testing.T, c client) {
		at, name := c.open(t), newName(t)
		archive := own(t).archive(t, "proxy.test/"+name)
		direct := repository(t)
		at.push(t, archive, "proxy.test/"+name, direct)
		pushedThrough(t, at, archive, name, direct, plain, nil)
		pushedThrough(t, at, archive, name, direct, filtering, normalized)
	})
}

// TestClientsPushIndexes: with all that they list, the attestation of an image
// included.
func TestClientsPushIndexes(t *testing.T) {
	t.Parallel()
	plain := startBetween(t, downstream(t), "")
	filtering := startBetween(t, downstream(t), filtersTOML(normalized))
	eachClient(t, true, func(t *testing.T, c client) {
		at, name := c.open(t), newName(t)
		archive, index := attested(t, "proxy.test/"+name)
		direct := repository(t)
		skopeo(t, "copy", "--all", "--preserve-digests", "--dest-tls-verify=false", "oci-archive:"+archive, "docker://"+direct)
		if got := digestOf(t, direct); got != index.String() {
			t.Fatalf("skopeo pushed %s, not %s", got, index)
		}
		pushedThrough(t, at, archive, name, direct, plain, nil)
		pushedThrough(t, at, archive, name, direct, filtering, normalized)
	})
}

// pushedThrough pushes an image by a proxy. Direct is what the client makes of it
// without one.
func pushedThrough(t testing.TB, at imagePlace, archive, name, direct string, p *between, filters []string) {
	t.Helper()
	sent, from := at.push(t, archive, "proxy.test/"+name, p.address+"/"+name), registryURI(direct)
	repo, _, _ := strings.Cut(name, ":")
	if sent == "" {
		sent = digestOf(t, direct)
	} else { // the proxy has what it got for an hour, by digest
		from = registryURI(p.address + "/" + repo + "@" + sent)
	}
	want := sent
	if filters != nil {
		want = filteredAs(t, from, filters)
	}
	isAt(t, p.down+"/"+name, want)
	if raw := crane(t, "manifest", p.address+"/"+repo+"@"+sent); digest.FromString(raw).String() != sent {
		t.Errorf("the manifest that was pushed is answered as %s, not %s", digest.FromString(raw), sent)
	}
	if got := at.pull(t, p.address+"/"+name); got != want {
		t.Errorf("pulled by tag it is %s, want %s", got, want)
	}
}

type cranePlace struct{}

func (cranePlace) push(t testing.TB, archive, _, to string) string {
	t.Helper()
	dir := t.TempDir()
	run(context.WithoutCancel(t.Context()), t, nil, nil, "tar", "-xf", archive, "-C", dir)
	root := filepath.Join(dir, blobName(digest.Digest(onlyDigest(t, dir))))
	raw, err := os.ReadFile(root)
	must(t, err)
	args := []string{"push", dir, to}
	if strings.Contains(string(raw), `"manifests"`) { // crane takes index.json for the index
		must(t, os.WriteFile(filepath.Join(dir, "index.json"), raw, 0o600))
		args = append(args, "--index")
	}
	crane(t, args...)
	return ""
}

func (cranePlace) pull(t testing.TB, from string) string {
	t.Helper()
	dir := t.TempDir()
	crane(t, "pull", "--format", "oci", from, dir)
	return onlyDigest(t, dir)
}

// onlyDigest is what the one entry of an OCI layout is.
func onlyDigest(t testing.TB, dir string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
	must(t, err)
	var index struct {
		Manifests []struct{ Digest digest.Digest }
	}
	decode(t, string(raw), &index)
	if len(index.Manifests) != 1 {
		t.Fatalf("%s lists %d manifests", dir, len(index.Manifests))
	}
	return index.Manifests[0].Digest.String()
}

type skopeoPlace struct{}

func (skopeoPlace) push(t testing.TB, archive, _, to string) string {
	t.Helper()
	skopeo(t, "copy", "--all", "--preserve-digests", "--dest-tls-verify=false", "oci-archive:"+archive, "docker://"+to)
	return ""
}

func (skopeoPlace) pull(t testing.TB, from string) string {
	t.Helper()
	dir := t.TempDir()
	skopeo(t, "copy", "--all", "--preserve-digests", "--src-tls-verify=false", "docker://"+from, "oci:"+dir+":1")
	return onlyDigest(t, dir)
}

type regctlPlace struct{}

// regctlAt runs it with a registry in plain HTTP.
func regctlAt(t testing.TB, ref string, args ...string) {
	t.Helper()
	host, _, _ := strings.Cut(ref, "/")
	tool(t, "OCCYSTRAP_TEST_REGCTL", append([]string{"--host", "reg=" + host + ",tls=disabled"}, args...)...)
}

func (regctlPlace) push(t testing.TB, archive, _, to string) string {
	t.Helper()
	dir := t.TempDir() // a layout with a tag: skopeo's
	skopeo(t, "copy", "--all", "--preserve-digests", "oci-archive:"+archive, "oci:"+dir+":1")
	regctlAt(t, to, "image", "copy", "ocidir://"+dir+":1", to)
	return ""
}

func (regctlPlace) pull(t testing.TB, from string) string {
	t.Helper()
	dir := t.TempDir()
	regctlAt(t, from, "image", "copy", from, "ocidir://"+dir+":1")
	return onlyDigest(t, dir)
}

// A ctrPlace is containerd, pulling and pushing itself (its transfer service) or by
// ctr.
type ctrPlace struct{ local bool }

func (c ctrPlace) flags(t testing.TB, ref string) []string {
	t.Helper()
	host, _, _ := strings.Cut(ref, "/")
	flags := []string{"--hosts-dir", hostsDir(t, host, host)}
	if c.local {
		flags = append(flags, "--local")
	}
	return flags
}

// hostsDir is a folder for containerd that leads the names of a host to an address.
func hostsDir(t testing.TB, host, addr string) string {
	t.Helper()
	dir := t.TempDir()
	if name, port, ok := strings.Cut(host, ":"); ok {
		host = name + "_" + port + "_"
	}
	must(t, os.Mkdir(filepath.Join(dir, host), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, host, "hosts.toml"),
		fmt.Appendf(nil, "server = \"http://%s\"\n[host.\"http://%[1]s\"]\ncapabilities = [\"pull\", \"resolve\", \"push\"]\n", addr), 0o644))
	return dir
}

func (c ctrPlace) push(t testing.TB, archive, name, to string) string {
	t.Helper()
	ctr(t, "images", "import", "--local", "--no-unpack", "--all-platforms", archive)
	ctr(t, append(append([]string{"images", "push"}, c.flags(t, to)...), to, name)...)
	ctr(t, "images", "rm", "--sync", name)
	return ""
}

func (c ctrPlace) pull(t testing.TB, from string) string {
	t.Helper()
	ctr(t, append(append([]string{"images", "pull"}, c.flags(t, from)...), from)...)
	defer ctr(t, "images", "rm", "--sync", from)
	return ctrDigest(t, from)
}

// A dockerPlace is a Docker daemon.
type dockerPlace struct{ e engine }

func (d dockerPlace) push(t testing.TB, archive, name, to string) string {
	t.Helper()
	pipelinetest.Env(t, d.e.key)
	d.e.hold(t)
	d.e.docker(t, "load", "-q", "-i", archive)
	d.e.docker(t, "tag", name, to)
	d.e.docker(t, "push", "-q", to)
	d.e.docker(t, "rmi", name, to)
	return ""
}

var pulledDigest = regexp.MustCompile(`(?m)^Digest: (sha256:[0-9a-f]{64})$`)

func (d dockerPlace) pull(t testing.TB, from string) string {
	t.Helper()
	pipelinetest.Env(t, d.e.key)
	d.e.hold(t)
	said := pulledDigest.FindStringSubmatch(d.e.docker(t, "pull", from))
	defer d.e.docker(t, "rmi", from)
	if len(said) != 2 {
		t.Fatalf("%s tells no digest", d.e.name)
	}
	if out := d.e.docker(t, "run", "--rm", "--network", "none", from, "sh", "-c", probeLayered); !strings.HasPrefix(out, saysLayered) {
		t.Errorf("%s says\n%s\nwant\n%s", from, out, saysLayered)
	}
	return said[1]
}

// A podman is the command, with a store of its own.
type podman struct{ dir string }

func newPodman(t testing.TB) podman {
	t.Helper()
	pipelinetest.Env(t, "OCCYSTRAP_TEST_PODMAN_BIN")
	return podman{open(t)} // podman wants a short path
}

func (p podman) args(args ...string) []string {
	return append([]string{"--root", filepath.Join(p.dir, "root"), "--runroot", filepath.Join(p.dir, "run"), "--tmpdir", filepath.Join(p.dir, "tmp"), "--storage-driver", "vfs"}, args...)
}

func (p podman) do(t testing.TB, args ...string) string {
	t.Helper()
	return strings.TrimSpace(tool(t, "OCCYSTRAP_TEST_PODMAN_BIN", p.args(args...)...))
}

// push compresses the layers: not always into the same bytes.
func (p podman) push(t testing.TB, archive, name, to string) string {
	t.Helper()
	file := filepath.Join(p.dir, "digest")
	p.do(t, "load", "-q", "-i", archive)
	p.do(t, "push", "-q", "--tls-verify=false", "--digestfile", file, name, to)
	p.do(t, "rmi", "--all", "--force")
	raw, err := os.ReadFile(file)
	must(t, err)
	return strings.TrimSpace(string(raw))
}

func (p podman) pull(t testing.TB, from string) string {
	t.Helper()
	p.do(t, "pull", "-q", "--tls-verify=false", from)
	defer p.do(t, "rmi", "--all", "--force")
	return p.do(t, "image", "inspect", "--format", "{{.Digest}}", from)
}
