//go:build integration && linux

package integration

import (
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// unmatched is an image of which nobody else has any layer: stores share what has
// the same digest, whoever put it there.
func unmatched(t testing.TB) fixture {
	t.Helper()
	store := pipelinetest.NewStore()
	layer := func() []byte { return pipelinetest.Tar(t, pipelinetest.File{Name: "own", Body: rand.Text()}) }
	desc := store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{layer(), layer(), layer()}})
	f := fixture{name: "unmatched", manifest: store.Bytes(desc.Digest)}
	f.addBlobs(t, store)
	return f
}

// hows is what becomes of each layer, by its digest in the source, and which lanes
// are taken.
type hows struct {
	Layers map[string]string
	Lanes  []string
}

// planned is what plan says.
func planned(t testing.TB, from, to string) hows {
	t.Helper()
	var p struct {
		Layers []struct {
			Descriptor struct{ Digest string }
			How        string
		}
		Lanes []struct{ Lane string }
	}
	decode(t, occystrap(t, "plan", from, to, "-O", "json"), &p)
	out := hows{Layers: map[string]string{}}
	for _, l := range p.Layers {
		out.Layers[l.Descriptor.Digest] = l.How
	}
	for _, l := range p.Lanes {
		out.Lanes = append(out.Lanes, l.Lane)
	}
	return out
}

// done is what process did.
func done(t testing.TB, from, to string) hows {
	t.Helper()
	file := filepath.Join(t.TempDir(), "metadata.json")
	occystrap(t, "process", "--quiet", "--metadata-file", file, from, to)
	raw, err := os.ReadFile(file)
	must(t, err)
	var r struct {
		Report struct {
			Layers []struct {
				Source struct{ Digest string }
				How    string
			}
			Lanes []struct{ Lane string }
		} `json:"occystrap.report"`
	}
	must(t, json.Unmarshal(raw, &r))
	out := hows{Layers: map[string]string{}}
	for _, l := range r.Report.Layers {
		out.Layers[l.Source.Digest] = l.How
	}
	for _, l := range r.Report.Lanes {
		out.Lanes = append(out.Lanes, l.Lane)
	}
	return out
}

// TestPlanIsWhatTheRunDoes: the same layers move the same way by the same lanes,
// while nothing of the image is there and when all of it is.
func TestPlanIsWhatTheRunDoes(t *testing.T) {
	t.Parallel()
	archive := func(t testing.TB) string { return "tar://" + unmatched(t).archive(t, "fixture.test/x:1") }
	at := map[string]engine{}
	for _, e := range engines {
		at[e.name] = e
	}
	held := func(e engine) func(t testing.TB) string {
		return func(t testing.TB) string { return e.uri(t, e.load(t, unmatched(t))) }
	}
	new := func(e engine) func(t testing.TB) string {
		return func(t testing.TB) string { return e.uri(t, e.image(t)) }
	}
	for name, ends := range map[string][2]func(t testing.TB) string{
		"tar to registry":                 {archive, func(t testing.TB) string { return registryURI(repository(t)) }},
		"tar to containerd":               {archive, func(t testing.TB) string { return ctrURI(t, ctrImage(t)) }},
		"tar to containerd store":         {archive, new(at["docker29"])},
		"tar to containerd store, pulled": {archive, func(t testing.TB) string { return new(at["docker29"])(t) + "&lane=pull" }},
		"tar to graph driver":             {archive, new(at["docker29-overlay2"])},
		"tar to layout":                   {archive, func(t testing.TB) string { return "dir://" + t.TempDir() + "?format=oci" }},
		"containerd store to registry":    {held(at["docker29"]), func(t testing.TB) string { return registryURI(repository(t)) }},
		"graph driver to archive":         {held(at["docker29-overlay2"]), func(t testing.TB) string { return "tar://" + archivePath(t) }},
		"containerd store to old graph":   {held(at["docker29"]), new(at["docker20"])},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, to := ends[0](t), ends[1](t)
			for _, when := range []string{"before", "after"} {
				says := planned(t, from, to)
				if diff := cmp.Diff(done(t, from, to), says); diff != "" {
					t.Errorf("%s: the run (-) did otherwise than the plan says (+):\n%s", when, diff)
				}
			}
		})
	}
}
