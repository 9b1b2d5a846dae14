//go:build integration && linux

package integration

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// An upstream is the registry of the test environment that wants a login, with a
// record of what is asked of it.
type upstream struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string // METHOD PATH
}

func newUpstream(t testing.TB) *upstream {
	t.Helper()
	to := &url.URL{Scheme: "http", Host: pipelinetest.Env(t, "OCCYSTRAP_TEST_REGISTRY_AUTH")}
	way := &httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ErrorLog: log.New(io.Discard, "", 0),
	}
	u := &upstream{}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		u.seen = append(u.seen, r.Method+" "+r.URL.Path)
		u.mu.Unlock()
		way.ServeHTTP(w, r)
	}))
	t.Cleanup(u.Close)
	return u
}

// asked are the requests that hold a text.
func (u *upstream) asked(text string) (out []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, r := range u.seen {
		if strings.Contains(r, text) {
			out = append(out, r)
		}
	}
	return out
}

func (u *upstream) host() string { return strings.TrimPrefix(u.URL, "http://") }

// settings make it the upstream of a proxy: for its name hub.test, for the first part
// "hub" of names, and for names that nobody has pushed.
func (u *upstream) settings(t testing.TB) string {
	t.Helper()
	login := filepath.Join(t.TempDir(), "login")
	must(t, os.WriteFile(login, []byte(u.login(t)), 0o600))
	return fmt.Sprintf("[[proxy.upstream]]\nhost = \"hub.test\"\naddress = %q\nprefix = \"hub\"\nprivate = true\ncredentials = %q\n", u.host(), login)
}

func (u *upstream) login(t testing.TB) string {
	t.Helper()
	return pipelinetest.Env(t, "OCCYSTRAP_TEST_REGISTRY_USER") + ":" + pipelinetest.Env(t, "OCCYSTRAP_TEST_REGISTRY_PASSWORD")
}

// put puts an archive into the registry, without the record, under a name for
// registries.
func (u *upstream) put(t testing.TB, archive string) (name string) {
	t.Helper()
	name = "integration/" + newName(t)
	ref := "docker://" + pipelinetest.Env(t, "OCCYSTRAP_TEST_REGISTRY_AUTH") + "/" + name
	skopeo(t, "copy", "--all", "--preserve-digests", "--dest-tls-verify=false", "--dest-creds", u.login(t), "oci-archive:"+archive, ref)
	t.Cleanup(func() { skopeo(t, "delete", "--tls-verify=false", "--creds", u.login(t), ref) })
	return name
}

// uri is an image of the registry for the command.
func (u *upstream) uri(t testing.TB, name string) string {
	t.Helper()
	user, password, _ := strings.Cut(u.login(t), ":")
	return registryURI(pipelinetest.Env(t, "OCCYSTRAP_TEST_REGISTRY_AUTH")+"/"+name) + "&username=" + user + "&password=" + password
}

// onlyMirrors are the settings of a proxy whose default upstream is hub.test.
const onlyMirrors = "default-upstream = \"hub.test\"\n"

// TestClientsPullThroughTheProxy: an image of a registry that the client has no login
// for; with a filter, what "occystrap process" makes of it.
func TestClientsPullThroughTheProxy(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	plain := startBetween(t, downstream(t), onlyMirrors+u.settings(t))
	filtering := startBetween(t, downstream(t), onlyMirrors+filtersTOML(normalized)+u.settings(t))
	eachClient(t, false, func(t *testing.T, c client) {
		at, f := c.open(t), own(t)
		name := u.put(t, f.archive(t, "proxy.test/x:1"))
		want := digestBytes(f.manifest)
		if got := at.pull(t, plain.address+"/"+name); got != want {
			t.Errorf("pulled without filters it is %s, want %s", got, want)
		}
		want = filteredAs(t, u.uri(t, name), normalized)
		if got := at.pull(t, filtering.address+"/hub/"+name); got != want {
			t.Errorf("pulled with a filter it is %s, want %s", got, want)
		}
		arrivesAt(t, filtering.down+"/hub.test/"+name, want)
	})
}

// TestClientsPullIndexes: by tag, with all that they list.
func TestClientsPullIndexes(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	plain := startBetween(t, "", onlyMirrors+u.settings(t)) // what it keeps is in its store
	filtering := startBetween(t, downstream(t), onlyMirrors+filtersTOML(normalized)+u.settings(t))
	eachClient(t, true, func(t *testing.T, c client) {
		at := c.open(t)
		archive, index := attested(t, "proxy.test/x:1")
		name := u.put(t, archive)
		if got := at.pull(t, plain.address+"/"+name); got != index.String() {
			t.Errorf("pulled without filters it is %s, want %s", got, index)
		}
		isAt(t, plain.address+"/hub/"+name, index.String())
		want := filteredAs(t, u.uri(t, name), normalized)
		if got := at.pull(t, filtering.address+"/"+name); got != want {
			t.Errorf("pulled with a filter it is %s, want %s", got, want)
		}
		arrivesAt(t, filtering.down+"/hub.test/"+name, want)
	})
}

// TestContainerdPullsByNamespace: hosts.toml leads to the proxy, which learns from ?ns=
// whose image is meant. That host itself does not exist.
func TestContainerdPullsByNamespace(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	p := startBetween(t, downstream(t), u.settings(t))
	for name, flags := range map[string][]string{"ctr": {"--local"}, "transfer": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			archive, index := attested(t, "proxy.test/x:1")
			ref := "hub.test/" + u.put(t, archive)
			dir := t.TempDir()
			must(t, os.Mkdir(filepath.Join(dir, "hub.test"), 0o755))
			must(t, os.WriteFile(filepath.Join(dir, "hub.test", "hosts.toml"),
				fmt.Appendf(nil, "server = \"https://hub.test\"\n[host.\"http://%s\"]\ncapabilities = [\"pull\", \"resolve\"]\n", p.address), 0o644))
			t.Cleanup(func() {
				if ctrDigest(t, ref) != "" {
					ctr(t, "images", "rm", "--sync", ref)
				}
			})
			ctr(t, append([]string{"images", "pull", "--hosts-dir", dir}, append(flags, ref)...)...)
			if got := ctrDigest(t, ref); got != index.String() {
				t.Errorf("containerd has %s, want %s", got, index)
			}
			if out := ctrRun(t, ref, probeLayered); !strings.HasPrefix(out, saysLayered) {
				t.Errorf("%s says\n%s\nwant\n%s", ref, out, saysLayered)
			}
		})
	}
}

// TestTwoProxiesShareADownstream: what one has pulled and filtered, the other takes from
// downstream. Upstream is asked for no blob again.
func TestTwoProxiesShareADownstream(t *testing.T) {
	t.Parallel()
	for name, filters := range map[string][]string{"unfiltered": nil, "filtered": normalized} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, down := newUpstream(t), downstream(t)
			settings := onlyMirrors + filtersTOML(filters) + u.settings(t)
			one, two := startBetween(t, down, settings), startBetween(t, down, settings)
			archive, _ := attested(t, "proxy.test/x:1")
			image := u.put(t, archive)
			first := skopeoPlace{}.pull(t, one.address+"/"+image)
			before := u.asked("/blobs/")
			if len(before) == 0 {
				t.Error("upstream was asked for no blob at all")
			}
			arrivesAt(t, down+"/hub.test/"+image, first)
			if second := (skopeoPlace{}).pull(t, two.address+"/"+image); second != first {
				t.Errorf("one proxy gives %s, the other %s", first, second)
			}
			if after := u.asked("/blobs/"); len(after) != len(before) {
				t.Errorf("upstream was asked again for %q", after[len(before):])
			}
			pushed := newName(t)
			skopeoPlace{}.push(t, own(t).archive(t, "proxy.test/x:1"), "", one.address+"/"+pushed)
			isAt(t, two.address+"/"+pushed, digestOf(t, one.address+"/"+pushed))
		})
	}
}

// TestClientsPrintWhyAPushIsDenied: the sentence of the filter "deny" reaches the user.
func TestClientsPrintWhyAPushIsDenied(t *testing.T) {
	t.Parallel()
	p := startBetween(t, downstream(t), filtersTOML([]string{"deny:pattern=opt/data2"}))
	for _, c := range clients() {
		if strings.HasPrefix(c.name, "ctr") {
			continue // ctr prints the status alone
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			at, name := c.open(t), newName(t)
			archive := own(t).archive(t, "proxy.test/"+name)
			out := refusedPush(t, at, archive, "proxy.test/"+name, p.address+"/"+name)
			if !strings.Contains(out, "deny") || !strings.Contains(out, "opt/data2") {
				t.Errorf("it prints\n%s", out)
			}
			if d, ok := tryDigest(t, p.down+"/"+name); ok {
				t.Errorf("downstream has it as %s", d)
			}
		})
	}
}

// refusedPush is what a client prints.
func refusedPush(t testing.TB, at imagePlace, archive, name, to string) string {
	t.Helper()
	switch at := at.(type) {
	case podman:
		at.do(t, "load", "-q", "-i", archive)
		return turnedAway(t, "OCCYSTRAP_TEST_PODMAN_BIN", at.args("push", "--tls-verify=false", name, to)...)
	case dockerPlace:
		pipelinetest.Env(t, at.e.key)
		at.e.hold(t)
		at.e.docker(t, "load", "-q", "-i", archive)
		at.e.docker(t, "tag", name, to)
		defer at.e.docker(t, "rmi", name, to)
		return turnedAway(t, "OCCYSTRAP_TEST_DOCKER", "-H", pipelinetest.Env(t, at.e.key), "push", to)
	case cranePlace:
		dir := t.TempDir()
		run(context.WithoutCancel(t.Context()), t, nil, nil, "tar", "-xf", archive, "-C", dir)
		return turnedAway(t, "OCCYSTRAP_TEST_CRANE", "push", dir, to)
	case regctlPlace:
		dir := t.TempDir()
		skopeo(t, "copy", "oci-archive:"+archive, "oci:"+dir+":1")
		host, _, _ := strings.Cut(to, "/")
		return turnedAway(t, "OCCYSTRAP_TEST_REGCTL", "--host", "reg="+host+",tls=disabled", "image", "copy", "ocidir://"+dir+":1", to)
	default:
		return turnedAway(t, "OCCYSTRAP_TEST_SKOPEO", "copy", "--dest-tls-verify=false", "oci-archive:"+archive, "docker://"+to)
	}
}

// turnedAway runs a program that has to fail and returns what it prints.
func turnedAway(t testing.TB, key string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), pipelinetest.Env(t, key), args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err == nil {
		t.Errorf("%s succeeded:\n%s", filepath.Base(cmd.Path), &out)
	}
	return out.String()
}
