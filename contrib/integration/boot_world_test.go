//go:build integration && linux

package integration

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// A booted container is a small machine: systemd is its first process.
type booted struct {
	engine
	name string
	as   []string // options of "docker exec"; none are root's
}

// user is one of its users, whose manager systemd runs.
func (b booted) user(number, home string) booted {
	b.as = []string{"--user", number + ":" + number, "--workdir", home, "--env", "HOME=" + home, "--env", "XDG_RUNTIME_DIR=/run/user/" + number}
	return b
}

// rights are what systemd needs in a container of its own. It is not a privileged
// one: what is the host's it can read at most. It mounts, writes the map of users of
// a service (SYS_PTRACE), brings up the loopback of one with its own network, and has
// the cgroups below its own; a namespace of them hides the rest. DAC_READ_SEARCH is
// what the lanes get.
var rights = []string{
	"--network", "none", "--cgroupns", "private", "--security-opt", "writable-cgroups=true",
	"--cap-add", "SYS_ADMIN", "--cap-add", "SYS_PTRACE", "--cap-add", "NET_ADMIN", "--cap-add", "DAC_READ_SEARCH",
	"--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
	"--tmpfs", "/run", "--tmpfs", "/tmp", "--env", "container=docker",
}

// shared is what a container starts with. Elsewhere than in one, systemd itself has
// its mounts shared; without that, LoadCredential= of a unit mounts what nobody sees.
const shared = "mount --make-rshared / && exec /sbin/init"

// boot starts a machine with our programs, units and these files in it, and waits
// until it is up. It is gone when the test ends, and so is its image.
func boot(t testing.TB, files ...pipelinetest.File) booted {
	t.Helper()
	tree := pipelinetest.Env(t, "OCCYSTRAP_TEST_SYSTEMD_TREE")
	files = append(unitFiles(t), files...)
	b := booted{engine: engines[1], name: "occystrap-boot-" + strings.ToLower(rand.Text())}
	image := b.image(t)
	b.docker(t, "import", tree, image)
	b.docker(t, slices.Concat([]string{"create", "--name", b.name}, rights, []string{image, "/bin/sh", "-c", shared})...)
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := b.try(t, "journalctl", "--no-pager", "--lines", "60", "--identifier", "systemd", "--identifier", "occystrapd")
			t.Logf("its journal:\n%s", out)
		}
		b.docker(t, "rm", "--force", "--volumes", b.name)
	})
	run(t.Context(), t, nil, bytes.NewReader(pipelinetest.Tar(t, files...)), pipelinetest.Env(t, "OCCYSTRAP_TEST_DOCKER"),
		"-H", pipelinetest.Env(t, b.key), "cp", "-", b.name+":/")
	b.docker(t, "start", b.name)
	eventually(t, "systemd boots", func() error {
		// Degraded: something of Debian's fails, on this kernel. Ours are looked at.
		state, err := b.try(t, "systemctl", "is-system-running")
		if state = strings.TrimSpace(state); state != "running" && state != "degraded" {
			return fmt.Errorf("it is %q: %w", state, err)
		}
		return nil
	})
	return b
}

// try runs a command in it, and returns what it prints.
func (b booted) try(t testing.TB, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), pipelinetest.Env(t, "OCCYSTRAP_TEST_DOCKER"),
		slices.Concat([]string{"-H", pipelinetest.Env(t, b.key), "exec"}, b.as, []string{b.name}, args)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// does runs one that has to succeed.
func (b booted) does(t testing.TB, args ...string) string {
	t.Helper()
	return b.docker(t, slices.Concat([]string{"exec"}, b.as, []string{b.name}, args)...)
}

// refuses runs one that has to fail and say why.
func (b booted) refuses(t testing.TB, why string, args ...string) error {
	t.Helper()
	out, err := b.try(t, args...)
	if err == nil {
		return errors.New("it is done")
	}
	if !strings.Contains(out, why) {
		return fmt.Errorf("want %q, it says: %s", why, out)
	}
	return nil
}

// property is what systemd knows of a unit.
func (b booted) property(t testing.TB, unit, name string) string {
	t.Helper()
	return strings.TrimSpace(b.does(t, "systemctl", "show", "--property", name, "--value", unit))
}

// is compares properties of a unit, as NAME=VALUE.
func (b booted) is(t testing.TB, unit string, want ...string) {
	t.Helper()
	for _, w := range want {
		name, value, _ := strings.Cut(w, "=")
		if got := b.property(t, unit, name); got != value {
			t.Errorf("%s has %s=%s, want %s", unit, name, got, value)
		}
	}
}

// unitFiles are the programs and the units where "make install" puts them.
func unitFiles(t testing.TB) []pipelinetest.File {
	t.Helper()
	dir := open(t)
	const units = "usr/local/lib/systemd/"
	files := []pipelinetest.File{
		{Name: "usr/local/"}, {Name: "usr/local/bin/"}, {Name: "usr/local/lib/"}, {Name: units}, {Name: units + "system/"}, {Name: units + "user/"},
	}
	for _, name := range []string{"occystrap", "occystrapd"} {
		files = append(files, pipelinetest.File{Name: "usr/local/bin/" + name, Body: text(t, installed(t, dir, name)), Mode: 0o755})
	}
	for folder, pattern := range map[string]string{"system/": "../systemd/*.*", "user/": "../systemd/user/*.*"} {
		found, err := filepath.Glob(pattern)
		must(t, err)
		for _, path := range found {
			files = append(files, pipelinetest.File{Name: units + folder + filepath.Base(path), Body: text(t, path)})
		}
	}
	return files
}

func text(t testing.TB, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	must(t, err)
	return string(raw)
}
