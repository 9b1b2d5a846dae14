//go:build integration && linux

package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// A proxied is a real "occystrapd proxy".
type proxied struct {
	// address is where it listens, HOST:PORT on the loopback.
	address string
	// dir has its store and config.toml; log is what it printed.
	dir, config string
	log         *pipelinetest.Journal
	process     *exec.Cmd
	program     string
	args        []string
}

// startProxy starts a proxy with these settings, the text of a config.toml ("" for
// none), on a free port of the loopback. It answers when startProxy returns, and is
// killed when the test ends.
func startProxy(t testing.TB, settings string) *proxied {
	t.Helper()
	from, err := daemonProgram()
	must(t, err)
	p := &proxied{dir: t.TempDir(), program: from}
	p.config = filepath.Join(p.dir, "config.toml")
	must(t, os.WriteFile(p.config, []byte(settings), 0o600))
	p.args = []string{"proxy", "--config", p.config, "--store", filepath.Join(p.dir, "store")}
	p.start(t, "127.0.0.1:0")
	return p
}

// listeningAt is where a proxy says that it listens: a service in its log, one in the
// foreground in a sentence.
var listeningAt = regexp.MustCompile(`(?m)(?:msg=listening at=|^Listening at )([^\s;]+)`)

// start starts it, and waits until it answers.
func (p *proxied) start(t testing.TB, listen string) {
	t.Helper()
	p.log = &pipelinetest.Journal{}
	// It has the environment without this user's logins.
	p.process = exec.CommandContext(context.WithoutCancel(t.Context()), p.program, append(p.args, "--listen", listen)...)
	p.process.Dir, p.process.Stdout, p.process.Stderr = "/", p.log, p.log
	p.process.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + p.dir, "TMPDIR=" + os.TempDir()}
	must(t, p.process.Start())
	process, log := p.process, p.log
	t.Cleanup(func() {
		_ = process.Process.Kill() // it may have ended
		_ = process.Wait()
		if t.Failed() {
			t.Logf("occystrapd proxy printed:\n%s", log)
		}
	})
	eventually(t, "the proxy answers", func() error {
		found := listeningAt.FindStringSubmatch(p.log.String())
		if found == nil {
			return fmt.Errorf("it printed:\n%s", p.log)
		}
		p.address = found[1]
		return p.answers(t.Context())
	})
}

// answers asks for /v2/; a demand for a login is an answer.
func (p *proxied) answers(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+"/v2/", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusUnauthorized {
		return fmt.Errorf("/v2/ is status %d", resp.StatusCode)
	}
	return nil
}

// again starts it anew at the same address and store, after stop.
func (p *proxied) again(t testing.TB) {
	t.Helper()
	p.start(t, p.address)
}

// stop asks it to end, and waits: it has to say that all went well.
func (p *proxied) stop(t testing.TB) {
	t.Helper()
	must(t, p.process.Process.Signal(syscall.SIGTERM))
	ended := make(chan error, 1)
	process := p.process
	go func() { ended <- process.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the proxy ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the proxy does not end")
	}
}

// reload gives it new settings, and waits until it says what it makes of them.
func (p *proxied) reload(t testing.TB, settings string) error {
	t.Helper()
	said := regexp.MustCompile(`msg="the (settings were read again|new settings are refused[^"]*)"`)
	before := len(said.FindAllString(p.log.String(), -1))
	must(t, os.WriteFile(p.config, []byte(settings), 0o600))
	must(t, p.process.Process.Signal(syscall.SIGHUP))
	var last string
	eventually(t, "the settings are read again", func() error {
		all := said.FindAllStringSubmatch(p.log.String(), -1)
		if len(all) <= before {
			return errors.New("it says nothing")
		}
		last = all[len(all)-1][1]
		return nil
	})
	if last != "settings were read again" {
		return errors.New(last)
	}
	return nil
}
