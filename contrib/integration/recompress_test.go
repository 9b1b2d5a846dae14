//go:build integration

package integration

import (
	"slices"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
)

// TestDaemonsPullEditedLayers: what was edited in its compressed form and what
// was compressed anew hold the same files, and every daemon pulls and runs both.
func TestDaemonsPullEditedLayers(t *testing.T) {
	t.Parallel()
	edited, anew := filteredLayered(t, pipeline.RecompressTranscode), filteredLayered(t, pipeline.RecompressCanonical)
	if a, b := registryIdentity(t, edited), registryIdentity(t, anew); !slices.Equal(a.diffIDs, b.diffIDs) || a.manifest == b.manifest {
		t.Fatalf("edited %v, compressed anew %v; want the same diff IDs and other manifests", a, b)
	}
	onEach(t, func(t *testing.T, e engine) {
		for mode, ref := range map[string]string{"edited": edited, "anew": anew} {
			e.forget(t, ref)
			e.docker(t, "pull", "-q", ref)
			out := e.docker(t, "run", "--rm", "--network", "none", ref, "sh", "-c", probeLayered)
			if want := builtFixture().changed; strings.TrimSpace(out) != want {
				t.Errorf("%s in %s says\n%s\nwant\n%s", mode, e.name, out, want)
			}
		}
	})
}

// filteredLayered filters a fixture from the registry to the registry.
func filteredLayered(t *testing.T, mode pipeline.Recompress) string {
	t.Helper()
	from, to := push(t, layered(t)), repository(t)
	want := map[pipeline.Recompress]pipeline.How{
		pipeline.RecompressTranscode: pipeline.HowTranscoded, pipeline.RecompressCanonical: pipeline.HowRewritten,
	}
	report := process(t, registryURI(from), registryURI(to)+"&recompress="+string(mode), true)
	for _, l := range report.Layers {
		if l.How != want[mode] {
			t.Errorf("recompress=%s: layer %s was %s (%s)", mode, l.Source.Digest, l.How, l.Why)
		}
	}
	crane(t, "validate", "--remote", to)
	return to
}
