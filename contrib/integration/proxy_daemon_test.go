//go:build integration && linux

package integration

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// request asks the proxy for something and returns the status and the body.
func (p *proxied) request(t testing.TB, method, path string, body []byte, header ...string) (int, string, http.Header) {
	t.Helper()
	if strings.HasPrefix(path, "/") {
		path = "http://" + p.address + path
	}
	r, err := http.NewRequestWithContext(t.Context(), method, path, bytes.NewReader(body))
	must(t, err)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	must(t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(raw), resp.Header
}

// pushSmall pushes an image of one blob as tag 1 and returns its digest.
func (p *proxied) pushSmall(t testing.TB, repository string) digest.Digest {
	t.Helper()
	blob := make([]byte, 1<<16)
	_, _ = rand.Read(blob)
	d := digest.FromBytes(blob)
	if status, body, _ := p.request(t, http.MethodPost, "/v2/"+repository+"/blobs/uploads/?digest="+d.String(), blob, "Content-Type", "application/octet-stream"); status != http.StatusCreated {
		t.Fatalf("a blob is pushed with status %d: %s", status, body)
	}
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/x-test","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":%d},"layers":[]}`, d, len(blob))
	if status, body, _ := p.request(t, http.MethodPut, "/v2/"+repository+"/manifests/1", manifest, "Content-Type", "application/vnd.oci.image.manifest.v1+json"); status != http.StatusCreated {
		t.Fatalf("a manifest is pushed with status %d: %s", status, body)
	}
	return digest.FromBytes(manifest)
}

// Without settings it is a registry, and what it has outlives it.
func TestProxyIsALocalRegistry(t *testing.T) {
	t.Parallel()
	p := startProxy(t, "")
	want := p.pushSmall(t, "team/app")
	p.stop(t)
	if !strings.Contains(p.log.String(), "msg=pushed repository=team/app tag=1") {
		t.Errorf("no line tells of the image:\n%s", p.log)
	}
	p.again(t)
	if status, _, h := p.request(t, http.MethodHead, "/v2/team/app/manifests/1", nil); status != http.StatusOK || h.Get("Docker-Content-Digest") != want.String() {
		t.Errorf("after a new start the image is status %d, %s; want %s", status, h.Get("Docker-Content-Digest"), want)
	}
}

// New settings count for new requests, one that is under way goes on as it began, and
// settings with a mistake change nothing.
func TestProxyTakesNewSettings(t *testing.T) {
	t.Parallel()
	p := startProxy(t, "")
	slow := p.slowUpload(t, "team/slow")
	if err := p.reload(t, "[proxy]\nfilters = [\"no-such-filter\"]\n"); err == nil {
		t.Error("settings with a mistake were taken")
	}
	if status, body, _ := p.request(t, http.MethodGet, "/v2/docker.io/library/x/manifests/1", nil); status != http.StatusNotFound || !strings.Contains(body, "NAME_UNKNOWN") {
		t.Errorf("an upstream that is not configured is status %d: %s", status, body)
	}
	must(t, p.reload(t, "[proxy]\nhosts = [\"proxy.example\"]\noffline = true\n[[proxy.upstream]]\nhost = \"docker.io\"\n"))
	if status, body, _ := p.request(t, http.MethodPut, "/v2/docker.io/library/x/manifests/1", []byte("{}")); status != http.StatusForbidden || !strings.Contains(body, "docker.io is mirrored here") {
		t.Errorf("a push to a mirrored name is status %d: %s", status, body)
	}
	slow()
	p.pushSmall(t, "team/app")
	if err := p.reload(t, "[proxy.store]\nhigh = \"1GB\"\n"); err == nil {
		t.Error("the store's bounds changed under way")
	}
	p.stop(t)
}

// slowUpload begins a push of a blob which end finishes.
func (p *proxied) slowUpload(t testing.TB, repository string) (end func()) {
	t.Helper()
	blob := make([]byte, 1<<20)
	_, _ = rand.Read(blob)
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.address+"/v2/"+repository+"/blobs/uploads/?digest="+digest.FromBytes(blob).String(), r)
	must(t, err)
	req.ContentLength = int64(len(blob))
	req.Header.Set("Content-Type", "application/octet-stream")
	// The proxy asks for the body when it has begun to read it: before, the connection
	// may be one that nobody has accepted yet.
	req.Header.Set("Expect", "100-continue")
	begun := make(chan struct{})
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{Got100Continue: func() { close(begun) }}))
	type answer struct {
		status int
		err    error
	}
	answered := make(chan answer, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			answered <- answer{0, err}
			return
		}
		answered <- answer{resp.StatusCode, resp.Body.Close()}
	}()
	_, err = w.Write(blob[:len(blob)/2])
	must(t, err)
	<-begun
	return func() {
		t.Helper()
		_, err := w.Write(blob[len(blob)/2:])
		must(t, err)
		must(t, w.Close())
		if a := <-answered; a.err != nil || a.status != http.StatusCreated {
			t.Errorf("the upload that was under way ends with status %d, %v", a.status, a.err)
		}
	}
}

// Who is asked to end finishes what was begun, and takes nothing more.
func TestProxyFinishesWhatWasBegun(t *testing.T) {
	t.Parallel()
	p := startProxy(t, "")
	finish := p.slowUpload(t, "team/slow")
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.stop(t)
	}()
	eventually(t, "nobody is let in any more", func() error {
		if err := p.answers(t.Context()); err == nil {
			return fmt.Errorf("the proxy answers")
		}
		return nil
	})
	finish()
	<-done
	p.again(t)
	p.stop(t)
}

// The command in a terminal says what to type, counts, and ends well.
func TestProxyInATerminal(t *testing.T) {
	t.Parallel()
	from, err := program()
	must(t, err)
	p := &proxied{dir: t.TempDir(), program: from, args: []string{"proxy"}}
	p.start(t, "127.0.0.1:0") // it keeps its images below its HOME
	p.pushSmall(t, "app")
	p.stop(t)
	for _, want := range []string{"docker push " + p.address + "/app:1", "Ctrl-C ends it", "containerd image store", "1 images pushed, 0 failed"} {
		if !strings.Contains(p.log.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, p.log)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "find", p.dir+"/.local/share/occystrap/proxy", "-path", "*temp/*").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("temporary files are left, or the store is elsewhere: %v %s", err, out)
	}
}

// Images filtered on their way arrive at the registry downstream.
func TestProxyPushesThrough(t *testing.T) {
	t.Parallel()
	downstream := pipelinetest.Env(t, "OCCYSTRAP_TEST_REGISTRY")
	crane := pipelinetest.Env(t, "OCCYSTRAP_TEST_CRANE")
	p := startProxy(t, fmt.Sprintf("[proxy]\ndownstream = %q\ninsecure = true\nfilters = [\"normalize-timestamps\"]\n", downstream+"/face"))
	command, err := program()
	must(t, err)
	if out, err := exec.CommandContext(t.Context(), command, "process", "tar://"+busyboxArchive, "registry://"+p.address+"/app:1").CombinedOutput(); err != nil {
		t.Fatalf("push: %v\n%s", err, out)
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), crane, append(args, "--insecure")...).CombinedOutput()
		if err != nil {
			t.Fatalf("crane %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if got, want := run("digest", p.address+"/app:1"), run("digest", downstream+"/face/app:1"); got != want {
		t.Errorf("the tag is %s here and %s downstream", got, want)
	}
	p.stop(t)
}

// The command takes the options that the Python tool's took: credentials for each
// side, compression, cache, folders, and how much goes on at once.
func TestProxyCommandTakesItsOptions(t *testing.T) {
	t.Parallel()
	downstream := pipelinetest.Env(t, "OCCYSTRAP_TEST_REGISTRY_AUTH")
	user, password := pipelinetest.Env(t, "OCCYSTRAP_TEST_REGISTRY_USER"), pipelinetest.Env(t, "OCCYSTRAP_TEST_REGISTRY_PASSWORD")
	command, err := program()
	must(t, err)
	dir := t.TempDir()
	cache, temp := filepath.Join(dir, "layers.json"), filepath.Join(dir, "temp")
	must(t, os.Mkdir(temp, 0o700))
	prefix := "face-" + strings.ToLower(rand.Text())
	p := &proxied{dir: dir, program: command, args: []string{
		"proxy", "--downstream", downstream + "/" + prefix, "--insecure", "--username", user, "--password", password,
		"-f", "normalize-timestamps", "-f", "inspect:file=" + filepath.Join(dir, "inspected"), "-f", "search:pattern=*/busybox", "--compression", "zstd", "--layer-cache", cache, "--temp-dir", temp, "--parallel", "1", "--concurrency", "1",
	}}
	p.start(t, "127.0.0.1:0")
	for _, name := range []string{"app", "again"} {
		if out, err := exec.CommandContext(t.Context(), command, "process", "tar://"+busyboxArchive, "registry://"+p.address+"/"+name+":1").CombinedOutput(); err != nil {
			t.Fatalf("push: %v\n%s", err, out)
		}
	}
	p.stop(t)
	for _, want := range []string{"What is pushed goes to " + downstream + "/" + prefix, "2 images pushed, 0 failed"} {
		if !strings.Contains(p.log.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, p.log)
		}
	}
	if inspected, err := os.ReadFile(filepath.Join(dir, "inspected")); err != nil || bytes.Count(inspected, []byte("\n")) != 2 || !strings.Contains(p.log.String(), "bin/busybox") {
		t.Errorf("two images were inspected, and searched for busybox: %s, %v\n%s", inspected, err, p.log)
	}
	if strings.Contains(p.log.String(), password) {
		t.Error("it prints the password")
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+downstream+"/v2/"+prefix+"/app/manifests/1", nil)
	must(t, err)
	r.SetBasicAuth(user, password)
	r.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json")
	resp, err := http.DefaultClient.Do(r)
	must(t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != http.StatusOK || !bytes.Contains(raw, []byte("tar+zstd")) {
		t.Errorf("downstream has, with status %d, %s", resp.StatusCode, raw)
	}
	if kept, err := os.ReadFile(cache); err != nil || !bytes.Contains(kept, []byte(prefix)) {
		t.Errorf("the layer cache is %s, %v", kept, err)
	}
	left, err := filepath.Glob(filepath.Join(temp, "*"))
	if must(t, err); len(left) > 0 {
		t.Errorf("temporary files are left: %v", left)
	}
}
