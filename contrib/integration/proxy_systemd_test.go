//go:build integration && linux

package integration

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// socketClient is a client of what listens at a unix socket.
func socketClient(t testing.TB, socket string) *http.Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// endsWell waits for a process to end well.
func endsWell(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	ended := make(chan *os.ProcessState, 1)
	go func() {
		state, _ := cmd.Process.Wait() // nil is told below
		ended <- state
	}()
	select {
	case state := <-ended:
		if state == nil || !state.Success() {
			t.Errorf("it ended with %v", state)
		}
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
}

// systemd starts the proxy for who connects, sees by its watchdog that requests are
// answered, and sees it end when nobody is there.
func TestSystemdStartsTheProxyForWhoAsks(t *testing.T) {
	t.Parallel()
	activate := pipelinetest.Env(t, "OCCYSTRAP_TEST_SOCKET_ACTIVATE")
	dir := open(t)
	occystrapd := installed(t, dir, "occystrapd")
	told := listenToNotify(t, filepath.Join(dir, "n"))
	socket, state := filepath.Join(dir, "s"), filepath.Join(dir, "state")
	must(t, os.Mkdir(state, 0o700))
	cmd := launch(t, nil, nil, activate, "--listen="+socket, "--fdname=registry",
		"-E", "NOTIFY_SOCKET="+filepath.Join(dir, "n"), "-E", "WATCHDOG_USEC=2000000", "-E", "STATE_DIRECTORY="+state,
		occystrapd, "proxy", "--config", "-"+filepath.Join(dir, "none"), "--idle", "10s")
	eventually(t, "systemd-socket-activate makes the socket", func() error {
		_, err := os.Stat(socket)
		return err
	})
	client := socketClient(t, socket)
	began := time.Now()
	resp, err := client.Get("http://127.0.0.1/v2/")
	must(t, err)
	must(t, resp.Body.Close())
	t.Logf("a cold socket answers after %v", time.Since(began).Round(time.Millisecond))
	// A folder for its state has it demand a secret, which it has made.
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without the secret /v2/ is status %d", resp.StatusCode)
	}
	secret, err := os.ReadFile(filepath.Join(state, "secret"))
	must(t, err)
	for _, c := range []struct {
		header string
		want   int
	}{{"", http.StatusUnauthorized}, {strings.TrimSpace(string(secret)), http.StatusAccepted}} {
		r, err := http.NewRequest(http.MethodPost, "http://127.0.0.1/v2/team/app/blobs/uploads/", http.NoBody)
		must(t, err)
		r.Header.Set("Occystrap-Secret", c.header)
		if c.header == "" {
			r.Header.Del("Occystrap-Secret")
		}
		resp, err := client.Do(r)
		must(t, err)
		must(t, resp.Body.Close())
		if resp.StatusCode != c.want {
			t.Errorf("a push with the secret %t is status %d, want %d", c.header != "", resp.StatusCode, c.want)
		}
	}
	told.hears(t, "READY=1")
	told.hears(t, "WATCHDOG=1")
	client.CloseIdleConnections()
	told.hears(t, "STOPPING=1")
	endsWell(t, cmd)
	if _, err := os.Stat(socket); err != nil {
		t.Errorf("it took systemd's socket away: %v", err)
	}
}

// With the socket that systemd keeps, nobody is turned away between the end of one
// proxy and the start of the next. A reload is told as systemd wants it.
func TestProxyOnTheSocketOfSystemd(t *testing.T) {
	t.Parallel()
	dir := open(t)
	occystrapd := installed(t, dir, "occystrapd")
	told := listenToNotify(t, filepath.Join(dir, "n"))
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	must(t, err)
	defer f.Close()
	p := &proxied{address: l.Addr().String(), dir: dir}
	start := func() *exec.Cmd {
		t.Helper()
		j := &pipelinetest.Journal{}
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "/bin/sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh",
			occystrapd, "proxy", "--config", "-"+filepath.Join(dir, "none"), "--store", filepath.Join(dir, "store"), "--idle", "10s")
		cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = []*os.File{f}, j, j
		cmd.Env = []string{"PATH=/usr/bin:/bin", "LISTEN_FDS=1", "LISTEN_FDNAMES=registry", "NOTIFY_SOCKET=" + filepath.Join(dir, "n")}
		must(t, cmd.Start())
		t.Cleanup(func() {
			_ = cmd.Process.Kill() // it may have ended
			_ = cmd.Wait()
			if t.Failed() {
				t.Logf("occystrapd printed:\n%s", j)
			}
		})
		return cmd
	}
	first := start()
	want := p.pushSmall(t, "team/app")
	must(t, first.Process.Signal(syscall.SIGHUP))
	told.hears(t, "RELOADING=1")
	if !strings.Contains(told.j.String(), "MONOTONIC_USEC=") {
		t.Errorf("systemd was told:\n%s", told.j.String())
	}
	http.DefaultClient.CloseIdleConnections()
	endsWell(t, first) // idle
	told.hears(t, "STOPPING=1")
	answered := make(chan string, 1)
	go func() { // it connects while there is no proxy
		resp, err := http.Head("http://" + p.address + "/v2/team/app/manifests/1")
		if err != nil {
			answered <- err.Error()
			return
		}
		_ = resp.Body.Close()
		answered <- resp.Header.Get("Docker-Content-Digest")
	}()
	second := start()
	if got := <-answered; got != want.String() {
		t.Errorf("who came in between got %s, want %s", got, want)
	}
	must(t, second.Process.Signal(syscall.SIGTERM))
	endsWell(t, second)
}

// The units are what systemd takes, and those of the system as tight as units are.
func TestUnitsOfTheProxy(t *testing.T) {
	t.Parallel()
	analyze := pipelinetest.Env(t, "OCCYSTRAP_TEST_SYSTEMD_ANALYZE")
	dir := open(t)
	occystrapd := installed(t, dir, "occystrapd")
	for _, c := range []struct{ folder, manager string }{{"../systemd", "--system"}, {"../systemd/user", "--user"}} {
		var units []string
		for _, name := range []string{"occystrapd-proxy.socket", "occystrapd-proxy.service"} {
			raw, err := os.ReadFile(filepath.Join(c.folder, name))
			must(t, err)
			raw = bytes.ReplaceAll(raw, []byte("/usr/local/bin/occystrapd"), []byte(occystrapd))
			raw = bytes.ReplaceAll(raw, []byte("/bin/kill"), []byte(occystrapd)) // not every machine has it
			unit := filepath.Join(dir, c.manager, name)
			must(t, os.MkdirAll(filepath.Dir(unit), 0o755))
			must(t, os.WriteFile(unit, raw, 0o644))
			units = append(units, unit)
		}
		cmd := exec.CommandContext(t.Context(), analyze, append([]string{"verify", c.manager}, units...)...)
		cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+dir, "HOME="+dir)
		if out, err := cmd.CombinedOutput(); err != nil || bytes.Contains(out, []byte("occystrapd")) {
			t.Errorf("systemd-analyze verify %s: %v\n%s", c.manager, err, out)
		}
		if c.manager == "--user" {
			continue // what a user's manager cannot do without privileges is not in there
		}
		if out, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=yes", "--threshold=20", "--no-pager", units[1]).CombinedOutput(); err != nil {
			t.Errorf("systemd-analyze security, at most 2.0: %v\n%s", err, out)
		}
	}
}
