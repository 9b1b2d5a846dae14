package daemon_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
)

// TestReferenceIsReadAsDockerReadsIt: a port is no tag, latest is the default,
// names of Docker Hub are short, digests and IDs have no name.
func TestReferenceIsReadAsDockerReadsIt(t *testing.T) {
	t.Parallel()
	const (
		hex    = "ad0ffa21ad3a8d041da03443bbf9261c1884a708bc513577b9f1952c6e91cc2e"
		digest = "sha256:" + hex
	)
	for _, tc := range []struct{ in, ask, name string }{
		{"busybox", "busybox:latest", "docker.io/library/busybox:latest"},
		{"busybox:1.36", "busybox:1.36", "docker.io/library/busybox:1.36"},
		{"team/app", "team/app:latest", "docker.io/team/app:latest"},
		{"docker.io/busybox:1", "busybox:1", "docker.io/library/busybox:1"},
		{"localhost:5000/foo", "localhost:5000/foo:latest", "localhost:5000/foo:latest"},
		{"reg.example:5000/a/b/c:v1", "reg.example:5000/a/b/c:v1", "reg.example:5000/a/b/c:v1"},
		{"localhost/foo", "localhost/foo:latest", "localhost/foo:latest"},
		{"busybox@" + digest, "busybox@" + digest, ""},
		{"busybox:1.36@" + digest, "busybox@" + digest, "docker.io/library/busybox:1.36"},
		{"localhost:5000/foo@" + digest, "localhost:5000/foo@" + digest, ""},
		{digest, digest, ""},
		{hex, digest, ""},
		// A name or the start of an ID: the daemon knows.
		{"ad0ffa21ad3a", "ad0ffa21ad3a", "docker.io/library/ad0ffa21ad3a:latest"},
		{"cafe:1", "cafe:1", "docker.io/library/cafe:1"},
	} {
		t.Run(tc.in, func(t *testing.T) {
			t.Parallel()
			ref, err := daemon.ParseReference(tc.in)
			if err != nil {
				t.Fatal(err)
			}
			if ref.Ask != tc.ask || ref.Name != tc.name {
				t.Errorf("asks %q for %q; want %q for %q", ref.Ask, ref.Name, tc.ask, tc.name)
			}
		})
	}
}

// TestBadReferenceIsAUsageError: what no daemon could hold is the user's
// mistake, and the message shows the form.
func TestBadReferenceIsAUsageError(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"team/UPPER", "a b", "name:", ":tag", "x@sha256:abc", "../up", "a//b", "host:port/x y"} {
		t.Run(in, func(t *testing.T) {
			t.Parallel()
			_, err := daemon.ParseReference(in)
			var usage *pipeline.UsageError
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), "docker://NAME[:TAG]") {
				t.Errorf("ParseReference(%q): %v; want a usage error that shows the form", in, err)
			}
		})
	}
}
