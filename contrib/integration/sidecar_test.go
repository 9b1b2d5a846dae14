//go:build integration && linux

package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/plugin/control"
)

// A user who may talk to Docker, and is not root, gets the lanes that read files;
// what comes out is what the daemon says. A stranger, a user who leaves the
// sidecar aside, and one whose sidecar was killed get it by the next best lane.
func TestTheSidecarLendsToUsers(t *testing.T) {
	t.Parallel()
	lanes := map[string]string{"docker29": "content", "docker29-overlay2": "layers", "docker20": "layers"}
	for _, e := range engines {
		if lanes[e.name] == "" {
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			name := e.load(t, busybox(t))
			want := e.identity(t, name)
			l := lend(t, e)
			installed(t, l.dir, "occystrap")
			from := "docker://" + name + "?socket=" + e.door(t, l.dir)
			export := func(file string, uid uint32, groups []uint32, args ...string) string {
				t.Helper()
				out, err := l.as(t, uid, groups, append([]string{"process", from, "tar://" + file, "--verbose"}, args...)...)
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				got := archiveIdentity(t, filepath.Join(l.dir, fmt.Sprint("home", uid), file))
				if !slices.Equal(got.diffIDs, want.diffIDs) || want.manifest != "" && got.manifest != want.manifest {
					t.Errorf("the image is %+v, want %+v", got, want)
				}
				return out
			}
			const lentBy = "lent by the sidecar"
			if out := export("member.tar", memberUser, []uint32{memberGroup}); !strings.Contains(out, lentBy) || !strings.Contains(out, lanes[e.name]) {
				t.Errorf("it was not lent to a member of the group:\n%s", out)
			}
			if out := export("aside.tar", memberUser, []uint32{memberGroup}, "--sidecar", "none"); strings.Contains(out, lentBy) {
				t.Errorf("the sidecar was not left aside:\n%s", out)
			}
			if out := export("stranger.tar", strangerUser, nil); strings.Contains(out, lentBy) || !strings.Contains(out, "may not talk to") {
				t.Errorf("a stranger got it lent, or is not told why not:\n%s", out)
			}
			must(t, l.process.Process.Kill())
			eventually(t, "the sidecar is gone", func() error {
				if c, err := net.Dial("unixpacket", l.socket); err == nil {
					return errors.Join(errors.New("it listens"), c.Close())
				}
				return nil
			})
			if out := export("gone.tar", memberUser, []uint32{memberGroup}); strings.Contains(out, lentBy) {
				t.Errorf("a killed sidecar lent it:\n%s", out)
			}
		})
	}
}

// systemd starts the sidecar for who connects, is told how it is, and sees it end
// when nobody is there. systemd-socket-activate does what systemd does.
func TestSystemdStartsTheSidecarForWhoAsks(t *testing.T) {
	t.Parallel()
	e := engines[slices.IndexFunc(engines, func(e engine) bool { return e.name == "docker29" })]
	activate := pipelinetest.Env(t, "OCCYSTRAP_TEST_SOCKET_ACTIVATE")
	name := e.load(t, busybox(t))
	image := e.identity(t, name).manifest
	dir := open(t)
	occystrapd := installed(t, dir, "occystrapd")
	told := listenToNotify(t, filepath.Join(dir, "n"))
	socket := filepath.Join(dir, "s")
	// It starts the sidecar in its own place, with the variables that -E names.
	cmd := launch(t, nil, nil, activate, "--seqpacket", "--listen="+socket, "--fdname=control",
		"-E", "NOTIFY_SOCKET="+filepath.Join(dir, "n"), "-E", "WATCHDOG_USEC=2000000",
		occystrapd, "lanes", "--config", settings(t, e, dir), "--idle", "10s") // nobody starts it twice: it must not find itself idle before it has looked
	eventually(t, "systemd-socket-activate makes the socket", func() error {
		_, err := os.Stat(socket)
		return err
	})
	c := control.New(socket) // it stays connected: the sidecar is not idle
	eventually(t, "the sidecar is started and answers", func() error {
		_, err := c.Hello(t.Context())
		return err
	})
	f, err := c.Blob(t.Context(), "moby", digest.Digest(image), digest.Digest(image))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(f)
	must(t, errors.Join(err, f.Close()))
	if digest.Digest(image).Algorithm().FromBytes(raw) != digest.Digest(image) {
		t.Errorf("what was lent has another digest: %q", raw)
	}
	told.hears(t, "READY=1")
	told.hears(t, "WATCHDOG=1")
	must(t, c.Close())
	told.hears(t, "STOPPING=1")
	endsWell(t, cmd)
	if _, err := os.Stat(socket); err != nil {
		t.Errorf("it took systemd's socket away: %v", err)
	}
}

// The units are what systemd takes, and as tight as units are.
func TestUnitsOfTheSidecar(t *testing.T) {
	t.Parallel()
	analyze := pipelinetest.Env(t, "OCCYSTRAP_TEST_SYSTEMD_ANALYZE")
	dir := open(t)
	occystrapd := installed(t, dir, "occystrapd")
	var units []string
	for _, name := range []string{"occystrapd-lanes.socket", "occystrapd-lanes.service", "occystrapd-view.socket"} {
		raw, err := os.ReadFile(filepath.Join("../systemd", name))
		must(t, err)
		unit := filepath.Join(dir, name)
		must(t, os.WriteFile(unit, bytes.ReplaceAll(raw, []byte("/usr/local/bin/occystrapd"), []byte(occystrapd)), 0o644))
		units = append(units, unit)
	}
	out, err := exec.CommandContext(t.Context(), analyze, append([]string{"verify"}, units...)...).CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("occystrapd")) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	out, err = exec.CommandContext(t.Context(), analyze, "security", "--offline=yes", "--threshold=20", "--no-pager", units[1]).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security, at most 2.0: %v\n%s", err, out)
	}
}

// The version that a user sees says whether the sidecar answers.
func TestVersionSaysWhoTheSidecarIs(t *testing.T) {
	t.Parallel()
	l := lend(t, engines[slices.IndexFunc(engines, func(e engine) bool { return e.name == "docker29" })])
	installed(t, l.dir, "occystrap")
	for uid, want := range map[uint32]string{memberUser: "", strangerUser: "may not talk to"} {
		out, err := l.as(t, uid, []uint32{map[uint32]uint32{memberUser: memberGroup, strangerUser: strangerUser}[uid]}, "version", "--format", "json")
		must(t, err)
		var v struct {
			Sidecar struct {
				Socket, Error string
				Protocol      int
			}
		}
		must(t, json.Unmarshal([]byte(out), &v))
		if v.Sidecar.Socket != l.socket || (want == "") != (v.Sidecar.Protocol > 0) || !strings.Contains(v.Sidecar.Error, want) {
			t.Errorf("user %d: %s", uid, out)
		}
	}
}
