//go:build integration && linux

package integration

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// ctrNamespace is a namespace of containerd that nobody but the test has, its
// subtests included: when an image is removed, containerd 2.4.2 takes snapshots
// away from those who are about to build upon them.
func ctrNamespace(t testing.TB) string { return "occystrap-" + rootName(t) }

// ctr runs containerd's own tool.
func ctr(t testing.TB, args ...string) string {
	t.Helper()
	return tool(t, "OCCYSTRAP_TEST_CTR", append([]string{"--address", pipelinetest.Env(t, "OCCYSTRAP_TEST_CONTAINERD"), "--namespace", ctrNamespace(t)}, args...)...)
}

// ctrImage is a new name in containerd; what has it when the test ends is
// removed.
func ctrImage(t testing.TB) string {
	t.Helper()
	name := "occystrap.test/" + strings.ToLower(rand.Text()) + ":1"
	t.Cleanup(func() {
		if ctrDigest(t, name) != "" {
			ctr(t, "images", "rm", "--sync", name)
		}
	})
	return name
}

// ctrDigest is what has a name in containerd; "" for nothing.
func ctrDigest(t testing.TB, name string) string {
	t.Helper()
	for line := range strings.Lines(ctr(t, "images", "ls", "name=="+name)) {
		if fields := strings.Fields(line); fields[0] == name {
			return fields[2]
		}
	}
	return ""
}

func ctrURI(t testing.TB, name string) string {
	t.Helper()
	return "containerd://" + name + "?namespace=" + ctrNamespace(t) + "&address=" + pipelinetest.Env(t, "OCCYSTRAP_TEST_CONTAINERD")
}

// ctrRun runs a command in an image that containerd has unpacked. The command
// writes to a file: ctr may end before it has printed what a container says.
func ctrRun(t testing.TB, name, command string) string {
	t.Helper()
	answer, id := t.TempDir(), strings.ToLower(rand.Text())
	ctr(t, "run", "--rm", "--null-io", "--runc-root", t.TempDir(), "--cgroup", "/occystrap-testenv/"+id,
		"--mount", "type=bind,src="+answer+",dst=/answer,options=rbind:rw", name, id, "sh", "-c", "exec >/answer/out 2>&1\n"+command)
	raw, err := os.ReadFile(filepath.Join(answer, "out"))
	must(t, err)
	return string(raw)
}

// containerd is one more place of the matrix.
func containerd() place {
	return place{
		uri:   func(t testing.TB) string { return ctrURI(t, ctrImage(t)) },
		chain: "containerd", look: checked,
		judge: func(t testing.TB, uri string) {
			name, _, _ := strings.Cut(strings.TrimPrefix(uri, "containerd://"), "?")
			if out := ctr(t, "images", "check", "name=="+name); !strings.Contains(out, "complete (") || !strings.Contains(out, "true") {
				t.Errorf("ctr says of %s\n%s", name, out)
			}
			if out := ctrRun(t, name, probeLayered); !strings.HasPrefix(out, saysLayered) {
				t.Errorf("%s says\n%s\nwant\n%s", name, out, saysLayered)
			}
			path := archivePath(t)
			// Without --local containerd 2.4.2 now and then ends an export early, with code 0.
			ctr(t, "images", "export", "--local", path, name)
			crane(t, "validate", "--tarball", path)
			skopeo(t, "inspect", "oci-archive:"+path)
		},
	}
}

// imported is the fixture, as ctr put it into containerd.
func imported(t testing.TB) string {
	t.Helper()
	name := ctrImage(t)
	ctr(t, "images", "import", layered(t).archive(t, name))
	return ctrURI(t, name)
}

// From registry to containerd, and from there to archive and registry, digests
// stay, and containerd runs what it got.
func TestContainerdKeepsDigests(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, filtered bool) {
		f := layered(t)
		from, name, path, to := push(t, f), ctrImage(t), archivePath(t), repository(t)
		var filters []string
		if filtered {
			filters = changing
		}
		first := processAs(t, registryURI(from), ctrURI(t, name), "4", filters)
		if got := ctrDigest(t, name); got != first.Manifest {
			t.Errorf("containerd has %s, was sent %s", got, first.Manifest)
		}
		want := expectation{fixture: f, from: registryIdentity(t, from), filtered: filtered}
		if out := strings.TrimSpace(ctrRun(t, name, f.probe)); out != want.says() {
			t.Errorf("%s says\n%s\nwant\n%s", name, out, want.says())
		}
		for _, uri := range []string{"tar://" + path, registryURI(to)} {
			if again := processAs(t, ctrURI(t, name), uri, "4", nil); again != first {
				t.Errorf("%s has %+v, containerd %+v", uri, again, first)
			}
		}
		checkArchive(t, path, want)
		checkRegistry(t, to, want)
	})
}

// A run that is interrupted takes its lease along; that of one that is killed is
// removed by the next. Neither leaves an image.
func TestKilledRunsLeaveNothingInContainerd(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]os.Signal{"interrupted": os.Interrupt, "killed": os.Kill} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			name, archive := ctrImage(t), layered(t).archive(t, "fixture.test/x:1")
			run := stopped(t, archive, ctrURI(t, name))
			id := leaseOf(t, run.Process.Pid)
			if err := run.Process.Signal(end); err != nil {
				t.Fatal(err)
			}
			if err := run.Wait(); err == nil {
				t.Error("the run that was stopped has succeeded")
			}
			if got := ctrDigest(t, name); got != "" {
				t.Errorf("%s has %s", name, got)
			}
			if end == os.Kill {
				occystrap(t, "process", "--quiet", "tar://"+archive, ctrURI(t, name))
			}
			if leases := ctr(t, "leases", "ls", "-q"); strings.Contains(leases, id) {
				t.Errorf("lease %s is left", id)
			}
		})
	}
}

// stopped starts a run that has got half of its archive, and waits for the rest.
func stopped(t testing.TB, archive, to string) *exec.Cmd {
	t.Helper()
	whole, err := os.ReadFile(archive)
	must(t, err)
	path, err := program()
	must(t, err)
	r, w, err := os.Pipe()
	must(t, err)
	t.Cleanup(func() { _ = w.Close() })
	cmd := exec.CommandContext(t.Context(), path, "process", "tar://-", to)
	cmd.Stdin = r
	must(t, cmd.Start())
	must(t, r.Close())
	go func() {
		_, _ = bytes.NewReader(whole[:len(whole)/2]).WriteTo(w) // the pipe breaks with the run
	}()
	return cmd
}

// leaseOf waits until a process has a lease, and returns its name.
func leaseOf(t testing.TB, pid int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	want := "." + strconv.Itoa(pid) + "." // as package process writes it
	for {
		for line := range strings.Lines(ctr(t, "leases", "ls")) {
			if strings.Contains(line, "org.occystrap.owner=") && strings.Contains(line, want) {
				return strings.Fields(line)[0]
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("process %d takes no lease", pid)
		case <-tick.C:
		}
	}
}
