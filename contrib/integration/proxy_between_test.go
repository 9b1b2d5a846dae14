//go:build integration && linux

package integration

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// A between is a proxy with a registry behind it.
type between struct {
	*proxied
	down string // where it keeps images, HOST/PREFIX; "" for its store
}

// startBetween starts a proxy with settings of the table [proxy] and those below it.
func startBetween(t testing.TB, down, settings string) *between {
	t.Helper()
	text := "[proxy]\n"
	if down != "" {
		text += fmt.Sprintf("downstream = %q\n", down)
	}
	return &between{startProxy(t, text+settings), down}
}

// newName is a new repository, with its tag.
func newName(t testing.TB) string {
	t.Helper()
	return strings.ToLower(rand.Text()) + ":1"
}

// downstream is a new place in the registry, for a proxy. Images that are not
// deleted again are small.
func downstream(t testing.TB) string {
	t.Helper()
	return pipelinetest.Env(t, "OCCYSTRAP_TEST_REGISTRY") + "/integration/" + strings.ToLower(rand.Text())
}

// filtersTOML is the list of filters in the settings; "" for none.
func filtersTOML(filters []string) string {
	if len(filters) == 0 {
		return ""
	}
	quoted := make([]string, len(filters))
	for i, f := range filters {
		quoted[i] = fmt.Sprintf("%q", f)
	}
	return "filters = [" + strings.Join(quoted, ", ") + "]\n"
}

// normalized are the filters of the proxies that have any.
var normalized = []string{"normalize-timestamps:ts=" + changedTime}

// filteredAs is the digest of what "occystrap process" makes of an image, by its URI,
// with all its platforms.
func filteredAs(t testing.TB, from string, filters []string) string {
	t.Helper()
	to := repository(t)
	args := []string{"process", "--quiet", "--all-platforms", from, registryURI(to)}
	for _, f := range filters {
		args = append(args, "-f", f)
	}
	occystrap(t, args...)
	return digestOf(t, to)
}

func digestBytes(b []byte) string { return digest.FromBytes(b).String() }

// digestOf is what a registry has under a name.
func digestOf(t testing.TB, ref string) string {
	t.Helper()
	return strings.TrimSpace(crane(t, "digest", ref))
}

// arrivesAt waits until a registry has an image that comes by itself, and checks it.
func arrivesAt(t testing.TB, ref, want string) {
	t.Helper()
	eventually(t, ref+" is there", func() error {
		if got, ok := tryDigest(t, ref); !ok || got != want {
			return fmt.Errorf("it is %q, want %s", got, want)
		}
		return nil
	})
	isAt(t, ref, want)
}

// isAt checks that a registry has an image, all of it, and under which digest.
func isAt(t testing.TB, ref, want string) {
	t.Helper()
	if got := digestOf(t, ref); got != want {
		t.Errorf("%s is %s, want %s", ref, got, want)
	}
	// crane knows no attestations: to validate them skopeo reads all, against the digests.
	skopeo(t, "copy", "--all", "--preserve-digests", "--src-tls-verify=false", "docker://"+ref, "dir:"+t.TempDir())
}
