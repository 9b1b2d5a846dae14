//go:build unix

package fault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/sidecar"
)

// runEnv makes this test binary occystrapd: its value are the arguments.
const runEnv = "OCCYSTRAP_FAULT_TEST_RUN"

func TestMain(m *testing.M) {
	if args := os.Getenv(runEnv); args != "" {
		// As systemd would, had it started us (sd_listen_fds(3)).
		if err := os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid())); err != nil {
			panic(err)
		}
		os.Exit(sidecar.Main("v1-test", strings.Fields(args), os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

// mostPrinted is how much of what a proxy printed a failed test shows, in bytes.
const mostPrinted = 20_000

// A child is occystrapd proxy in a process of its own. Its socket is ours, so that it
// is at the same address again when it was killed, and who comes meanwhile waits.
type child struct {
	t      *testing.T
	base   string
	socket *os.File
	config string

	cmd *exec.Cmd
	out pipelinetest.Journal
	// life ends when the process does: who waits for an answer then waits in vain.
	life  context.Context //nolint:containedctx // the process's
	ended chan error      // has what Wait said
}

// newChild prepares a proxy with a config.toml.
func newChild(t *testing.T, config string) *child {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	must(t, err)
	c := &child{t: t, base: "http://" + l.Addr().String(), socket: f, config: filepath.Join(t.TempDir(), "config.toml")}
	must(t, os.WriteFile(c.config, []byte(config), 0o600))
	t.Cleanup(func() {
		c.kill()
		_ = f.Close()
		if t.Failed() {
			all := c.out.String()
			t.Logf("the proxy printed:\n%s", all[max(0, len(all)-mostPrinted):])
		}
	})
	return c
}

// start starts it, and waits until it answers.
func (c *child) start() {
	c.t.Helper()
	exe, err := os.Executable()
	must(c.t, err)
	c.cmd = exec.Command(exe)
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.out
	c.cmd.ExtraFiles = []*os.File{c.socket}
	c.cmd.Env = append(os.Environ(), runEnv+"=proxy --config "+c.config, "LISTEN_FDS=1", "LISTEN_FDNAMES=registry", "GOMAXPROCS=2")
	must(c.t, c.cmd.Start())
	ctx, over := context.WithCancelCause(context.Background())
	cmd, ended := c.cmd, make(chan error, 1)
	c.life, c.ended = ctx, ended
	go func() {
		err := cmd.Wait()
		ended <- err
		over(fmt.Errorf("the proxy has ended: %w", errors.Join(errEnded, err)))
	}()
	if a, err := client(c.t, c.base).Do(c.life, http.MethodGet, "/v2/", nil); err != nil || a.Status != http.StatusOK {
		c.t.Fatalf("the proxy does not answer: status %d, %v, %v", a.Status, err, context.Cause(c.life))
	}
}

var errEnded = errors.New("its process is gone")

// kill is kill -9.
func (c *child) kill() {
	if c.cmd != nil {
		_ = c.cmd.Process.Kill() // it may have ended
		<-c.life.Done()
		c.cmd = nil
	}
}

// term is what systemd does to stop it; the channel has its end.
func (c *child) term() <-chan error {
	must(c.t, c.cmd.Process.Signal(syscall.SIGTERM))
	c.cmd = nil
	return c.ended
}

// hangUp ends the connections that no process has accepted: what their clients have sent
// and given up would else be done by the next process, at any moment.
func (c *child) hangUp() {
	l, err := net.FileListener(c.socket)
	must(c.t, err)
	defer l.Close()
	raw, err := l.(*net.TCPListener).SyscallConn()
	must(c.t, err)
	must(c.t, raw.Control(func(fd uintptr) {
		for {
			conn, _, err := unix.Accept(int(fd))
			if err != nil {
				return // none is left: the socket does not block
			}
			_ = unix.Close(conn)
		}
	}))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until what is asked is so, for minutes on a slow machine.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); !is(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never came to be: %s", what)
		}
	}
}

// settings are those of a proxy with a store, an upstream called up.example, and a
// filter for one part of its names, pushed and pulled; more are lines of [proxy].
func settings(store, upstream string, more ...string) string {
	return fmt.Sprintf(`
[proxy]
ttl = "0s"
%s
[proxy.store]
dir = %q
[[proxy.rule]]
match = "filtered/**"
filters = ["normalize-timestamps"]
[[proxy.rule]]
match = "up.example/filtered/**"
filters = ["normalize-timestamps"]
[[proxy.upstream]]
host = "up.example"
address = %q
insecure = true
private = true
`, strings.Join(more, "\n"), store, upstream)
}
