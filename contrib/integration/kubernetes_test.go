//go:build integration && linux

package integration

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The text of the manifest works: the init container prepares a node, twice if need be,
// with no more rights than it is given; the proxy serves with the settings beside it,
// its probes are answered, it lets in who has the secret that containerd was given, and
// it ends in good order. What only a cluster has (the scheduler, the node's own network)
// is not in it.
func TestTheDaemonSetRuns(t *testing.T) {
	t.Parallel()
	const secret = "0123456789abcdef0123456789abcdef" // of nobody
	n := newNode(t, nodeEngine(t), map[string]string{"secret": secret, "downstream": "nodes:token"})
	dockerfileHas(t, `ENTRYPOINT ["/usr/local/bin/occystrapd"]`)
	dockerfileHas(t, "COPY contrib/containerd/install-hosts.sh /usr/local/bin/install-hosts.sh")

	init := n.create(t, n.InitContainers[0])
	n.docker(t, "start", "--attach", init)
	first := n.hosts(t)
	n.docker(t, "start", "--attach", init)
	if again := n.hosts(t); !maps.Equal(again, first) {
		t.Errorf("run again, it makes %v of %v", again, first)
	}
	for _, registry := range []string{"docker.io", "ghcr.io", "quay.io", "registry.k8s.io"} {
		for _, part := range []string{"server = ", `[host."http://127.0.0.1:5050"]`, `Occystrap-Secret = "` + secret + `"`} {
			if !strings.Contains(first[registry], part) {
				t.Errorf("hosts.toml of %s has no %q: %q", registry, part, first[registry])
			}
		}
	}

	c := n.Containers[0]
	proxy := n.create(t, c)
	n.docker(t, "start", proxy)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the proxy printed:\n%s", n.docker(t, "logs", proxy))
		}
	})
	at := fmt.Sprintf("http://%s:%d", c.StartupProbe.HTTPGet.Host, c.StartupProbe.HTTPGet.Port)
	eventually(t, "the pod is started", func() error { return n.try(t, proxy, "wget", "-q", "-O", "-", at+c.StartupProbe.HTTPGet.Path) })
	must(t, n.try(t, proxy, "wget", "-q", "-O", "-", at+c.ReadinessProbe.HTTPGet.Path))
	must(t, n.try(t, proxy, "wget", "-q", "-O", "-", at+c.LivenessProbe.HTTPGet.Path))
	push := []string{"wget", "-q", "-O", "-", "--post-data", "", at + "/v2/team/app/blobs/uploads/"}
	if err := n.try(t, proxy, push...); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("without the secret a push is answered with %v", err)
	}
	must(t, n.try(t, proxy, append(push, "--header", "Occystrap-Secret: "+secret)...))
	info, err := os.Stat(filepath.Join(n.dirs["store"], "store"))
	must(t, err)
	if owner := info.Sys().(*syscall.Stat_t).Uid; int(owner) != c.SecurityContext.RunAsUser { //nolint:forcetypeassert // on Linux it is
		t.Errorf("the store belongs to user %d", owner)
	}
	n.docker(t, "stop", "--time", fmt.Sprint(n.TerminationGracePeriodSeconds), proxy)
	if got := strings.TrimSpace(n.docker(t, "inspect", "--format", "{{.State.ExitCode}}", proxy)); got != "0" {
		t.Errorf("the proxy ends with %s", got)
	}
}
