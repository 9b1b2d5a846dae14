//go:build integration && linux

package integration

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/plugin/control"
)

// Numbers that no user and group of the machine needs to have.
const (
	sidecarUser  = 54400
	memberUser   = 54401
	strangerUser = 54402
	memberGroup  = 54403
)

// patience is how long anything may take that comes by itself.
const patience = 3 * time.Minute

// open is a folder that every user gets to, with a short path.
func open(t testing.TB) string {
	t.Helper()
	for _, parent := range []string{os.TempDir(), "/tmp", "/var/tmp", "/dev/shm"} {
		if !reached(parent) {
			continue
		}
		dir, err := os.MkdirTemp(parent, "side") //nolint:usetesting // others get there
		must(t, err)
		t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
		must(t, os.Chmod(dir, 0o755))
		return dir
	}
	t.Fatal("there is no folder for temporary files that every user gets to")
	return ""
}

// reached says whether every user may go through a folder and those above it.
func reached(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		if dir == "/" {
			return true
		}
		dir = filepath.Dir(dir)
	}
}

// daemonProgram is occystrapd, built once from this tree, beside the command and
// before anything waits for it.
var daemonProgram = sync.OnceValues(func() (string, error) {
	command, err := program()
	if err != nil {
		return "", err
	}
	path := command + "d"
	cmd := exec.Command("go", "build", "-o", path, "../../cmd/occystrapd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build occystrapd: %w\n%s", err, out)
	}
	return path, nil
})

// installed puts a program into a folder that every user gets to.
func installed(t testing.TB, dir, name string) string {
	t.Helper()
	from, err := daemonProgram()
	if name == "occystrap" {
		from, err = program()
	}
	must(t, err)
	path := filepath.Join(dir, name)
	pipelinetest.CopyProgram(t, from, path)
	return path
}

// launch starts a program without the environment of this one. What it prints is
// shown if the test fails; it is killed when the test ends.
func launch(t testing.TB, as *syscall.SysProcAttr, env []string, path string, args ...string) *exec.Cmd {
	t.Helper()
	return launchWith(t, nil, as, env, path, args...)
}

// launchWith passes it files besides, from descriptor 3 on.
func launchWith(t testing.TB, files []*os.File, as *syscall.SysProcAttr, env []string, path string, args ...string) *exec.Cmd {
	t.Helper()
	j := &pipelinetest.Journal{}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), path, args...)
	cmd.Dir, cmd.SysProcAttr, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = "/", as, j, j, files
	cmd.Env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin"}, env...)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s printed:\n%s", filepath.Base(path), j)
		}
	})
	return cmd
}

// readsAll makes a process one that reads what root may read and is not root, as
// systemd starts the sidecar; root where this machine lets nobody have the
// capability.
func readsAll(t testing.TB) *syscall.SysProcAttr {
	t.Helper()
	const dacReadSearch = 2
	status, err := os.ReadFile("/proc/self/status")
	must(t, err)
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		var have uint64
		if name == "CapPrm" || name == "CapBnd" {
			if _, err := fmt.Sscanf(strings.TrimSpace(value), "%x", &have); err != nil || have&(1<<dacReadSearch) == 0 {
				t.Logf("the sidecar runs as root: %s is %s", name, value)
				return nil
			}
		}
	}
	return &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: sidecarUser, Gid: sidecarUser},
		AmbientCaps: []uintptr{dacReadSearch},
	}
}

// roots are where an engine keeps its images: containerd's root, or its own.
func (e engine) roots(t testing.TB) (containerd, docker string) {
	t.Helper()
	docker = strings.TrimSpace(e.docker(t, "info", "-f", "{{.DockerRootDir}}"))
	containerd = filepath.Join(filepath.Dir(docker), "containerd") // of the test environment
	if _, err := os.Stat(filepath.Join(containerd, "io.containerd.metadata.v1.bolt", "meta.db")); err != nil {
		t.Fatalf("the test environment keeps its containerd elsewhere: %v", err)
	}
	return containerd, docker
}

// A lent is a sidecar and the folder that it is in.
type lent struct {
	dir, socket string
	process     *exec.Cmd
}

// settings writes a config.toml for an engine.
func settings(t testing.TB, e engine, dir string) string {
	t.Helper()
	containerd, docker := e.roots(t)
	config := filepath.Join(dir, "config.toml")
	must(t, os.WriteFile(config, fmt.Appendf(nil,
		"[lanes]\ngroup = \"%d\"\n[[lanes.containerd]]\nroot = %q\nnamespaces = [\"moby\"]\n[[lanes.docker]]\nroot = %q\n", memberGroup, containerd, docker), 0o644))
	return config
}

// lend starts a sidecar for an engine, as systemd would, on a socket of its own
// that belongs to memberGroup.
func lend(t testing.TB, e engine) *lent {
	t.Helper()
	l := &lent{dir: open(t)}
	as := readsAll(t)
	run := filepath.Join(l.dir, "run")
	must(t, os.Mkdir(run, 0o755))
	must(t, os.Chmod(run, 0o755)) // whatever the umask
	if as != nil {
		must(t, os.Chown(run, sidecarUser, -1))
	}
	l.socket = filepath.Join(run, "s")
	l.process = launch(t, as, nil, installed(t, l.dir, "occystrapd"), "lanes", "--config", settings(t, e, l.dir), "--listen", l.socket)
	answers(t, l.socket)
	must(t, os.Chown(l.socket, -1, memberGroup)) // systemd's SocketGroup=
	return l
}

// answers waits for a sidecar.
func answers(t testing.TB, socket string) {
	t.Helper()
	c := control.New(socket)
	defer c.Close()
	eventually(t, "the sidecar answers", func() error {
		_, err := c.Hello(t.Context())
		return err
	})
}

// eventually waits for what comes by itself.
func eventually(t testing.TB, what string, try func() error) {
	t.Helper()
	end := time.Now().Add(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not in %v: %v", what, patience, err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// door is a socket for everybody in front of a daemon's, which is root's.
func (e engine) door(t testing.TB, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "d")
	l, err := net.Listen("unix", path)
	must(t, err)
	must(t, os.Chmod(path, 0o666))
	var all sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	daemon := strings.TrimPrefix(pipelinetest.Env(t, e.key), "unix://")
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d, err := net.Dial("unix", daemon)
			if err != nil {
				_ = c.Close()
				return
			}
			for _, way := range [][2]net.Conn{{c, d}, {d, c}} {
				all.Go(func() {
					_, _ = io.Copy(way[0], way[1])
					_ = way[0].(*net.UnixConn).CloseWrite()
					_ = way[1].(*net.UnixConn).CloseRead()
				})
			}
		}
	})
	return path
}

// as runs the command as a user of groups, in a folder of his, and returns what
// it printed.
func (l *lent) as(t testing.TB, uid uint32, groups []uint32, args ...string) (string, error) {
	t.Helper()
	home := filepath.Join(l.dir, fmt.Sprint("home", uid))
	if err := os.Mkdir(home, 0o700); !errors.Is(err, os.ErrExist) {
		must(t, cmp.Or(err, os.Chown(home, int(uid), int(uid))))
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(l.dir, "occystrap"), args...)
	cmd.Dir = home
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "TMPDIR=" + home, "HOME=" + home, "OCCYSTRAP_SIDECAR=" + l.socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid, Groups: groups}}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// A notify is the socket that systemd would be told at.
type notify struct{ j pipelinetest.Journal }

func listenToNotify(t testing.TB, path string) *notify {
	t.Helper()
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	must(t, os.Chmod(path, 0o666))
	n := &notify{}
	var all sync.WaitGroup
	all.Go(func() {
		buf := make([]byte, 4096)
		for {
			got, err := l.Read(buf)
			if err != nil {
				return
			}
			fmt.Fprintf(&n.j, "%s\n", buf[:got])
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return n
}

func (n *notify) hears(t testing.TB, word string) {
	t.Helper()
	eventually(t, "systemd is told "+word, func() error {
		if !slices.Contains(strings.Split(n.j.String(), "\n"), word) {
			return fmt.Errorf("it was told:\n%s", n.j.String())
		}
		return nil
	})
}
