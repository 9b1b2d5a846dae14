package check_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/check"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/scheme/tarball"
)

func TestNoImageIsOneWarning(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	artifact := s.PutJSON(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		MediaType: ocispec.MediaTypeImageManifest, Config: s.Put("application/vnd.oci.empty.v1+json", []byte("{}")),
	})
	r := run(t, s.Source(artifact), check.Options{})
	if len(r.Results) != 1 || r.Results[0].Check != "metadata" || r.Results[0].Severity != check.Warning {
		t.Errorf("told is %s", messages(r))
	}
}

func TestAManifestOfAnotherDigestIsTold(t *testing.T) {
	t.Parallel()
	p := good(t)
	src := p.put(t)
	p.store.Corrupt(p.desc.Digest, append(p.store.Bytes(p.desc.Digest), ' '))
	if r := run(t, src, check.Options{}); len(of(r, "manifest-digest")) == 0 || len(r.Images) != 1 {
		t.Errorf("told is %s", messages(r))
	}
}

func TestAnAmbiguousManifestIsToldAndLeftOut(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	both := s.PutJSON(t, ocispec.MediaTypeImageManifest, map[string]any{"schemaVersion": 2, "layers": []any{}, "manifests": []any{}})
	if r := run(t, s.Source(both), check.Options{}); len(of(r, "manifest-format")) != 1 {
		t.Errorf("told is %s", messages(r))
	}
}

func TestDockersTypesAreTold(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	r := run(t, s.Source(s.Image(t, pipelinetest.Image{Docker: true, Layers: [][]byte{pipelinetest.Tar(t)}})), check.Options{Fast: true})
	if len(of(r, "docker-media-type")) != 1 || r.Count(check.Warning) > 0 {
		t.Errorf("told is %s", messages(r))
	}
}

func TestAnIndexIsChecked(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	one := s.Image(t, pipelinetest.Image{Layers: [][]byte{pipelinetest.Tar(t)}})
	lies := one
	lies.Platform = &ocispec.Platform{OS: "linux", Architecture: "arm64"}
	r := run(t, s.Source(s.Index(t, one, s.Attestation(t, one.Digest))), check.Options{})
	if len(of(r, "index-entry"))+len(of(r, "platform")) > 0 || r.Count(check.Error) > 0 {
		t.Errorf("told of a good one is %s", messages(r))
	}
	r = run(t, s.Source(s.Index(t, lies, s.Attestation(t, digest.FromString("none")))), check.Options{})
	if len(of(r, "index-entry")) != 1 || len(of(r, "platform")) != 1 {
		t.Errorf("told is %s", messages(r))
	}
	two := s.Image(t, pipelinetest.Image{Layers: [][]byte{pipelinetest.Tar(t, file{Name: "x"})}})
	if r = run(t, s.Source(s.Index(t, one, two)), check.Options{}); len(of(r, "index-entry")) != 1 || len(r.Images) != 2 {
		t.Errorf("told is %s", messages(r))
	}
}

func TestLimitsOfAnImageAreKept(t *testing.T) {
	t.Parallel()
	p := good(t)
	src := p.put(t)
	for _, c := range []struct {
		o  check.Options
		id string
		n  int
	}{
		{check.Options{MaxSize: 1}, "max-size", 1},
		{check.Options{MaxSize: 1 << 30}, "max-size", 0},
		{check.Options{MaxWaste: check.Limit{Set: true}}, "max-waste", 1},
		{check.Options{MaxWaste: check.Limit{Set: true, Bytes: 1}}, "max-waste", 0},
		{check.Options{MaxWaste: check.Limit{Set: true, ByParts: true, Percent: 33}}, "max-waste", 1},
		{check.Options{MaxWaste: check.Limit{Set: true, ByParts: true, Percent: 34}}, "max-waste", 0},
	} {
		if r := run(t, src, c.o); len(of(r, c.id)) != c.n {
			t.Errorf("%+v: %s", c.o, messages(r))
		}
	}
}

// Of many files ten are named, and all are counted.
func TestManyFilesAreCounted(t *testing.T) {
	t.Parallel()
	p := good(t)
	var files []file
	for i := range 25 {
		files = append(files, file{Name: fmt.Sprintf("f%02d", i), Body: "x", Mode: 0o4777})
	}
	p.files(t, files...)
	p.files(t, files...)
	r := run(t, p.put(t), check.Options{})
	if n := len(of(r, "tar-permissions")); n != 11 || !strings.Contains(messages(r), "50 in all; 10 of them are named") {
		t.Errorf("%d results: %s", n, messages(r))
	}
	dups := of(r, "duplicate-file")
	if len(dups) != 11 || dups[0].Message != "f00 is in layers 2, 3" || !strings.HasPrefix(dups[10].Message, "25 files") {
		t.Errorf("told is %s", messages(&check.Report{Results: dups}))
	}
}

// What strangers have named does not reach a terminal as it is.
func TestHostileNamesAreQuoted(t *testing.T) {
	t.Parallel()
	p := good(t)
	p.config["history"].([]any)[0] = map[string]any{"created_by": "ENV A_TOKEN=x\x1b[2J"}
	p.manifest.Layers[0].MediaType = "a\x1b\n.tar"
	p.files(t, file{Name: "x\n\x1b[31m", Mode: 0o4777}, file{Name: "l\xff", Link: "n\x07", Type: '1', PAX: nil})
	for _, res := range run(t, p.put(t), check.Options{}).Results {
		if strings.IndexFunc(res.Message, func(r rune) bool { return r < ' ' || r == 0x7f }) >= 0 {
			t.Errorf("%s: %q", res.Check, res.Message)
		}
	}
}

// Waste and efficiency are those that dive finds in its own test image.
func TestWasteIsThatOfDive(t *testing.T) {
	t.Parallel()
	src, err := tarball.Scheme(tarball.Config{}).Source(pipeline.Location{Path: "../scheme/tarball/testdata/images/dive-test-docker-image.tar"})
	if err != nil {
		t.Fatal(err)
	}
	w := run(t, src, check.Options{}).Images[0].Waste
	if w.Wasted != 32025 || w.Total != 1220598 || math.Abs(w.Efficiency-0.9844212134184309) > 1e-9 {
		t.Errorf("waste is %+v", w)
	}
	if len(w.Largest) != 5 || !slices.IsSortedFunc(w.Largest, func(a, b check.Wasted) int { return int(b.Size - a.Size) }) {
		t.Errorf("the largest are %+v", w.Largest)
	}
}

func TestALayerThatIsNotThereIsTold(t *testing.T) {
	t.Parallel()
	p := good(t)
	p.store.Delete(p.manifest.Layers[0].Digest)
	if r := run(t, p.put(t), check.Options{}); len(of(r, "layer-read")) != 1 {
		t.Errorf("told is %s", messages(r))
	}
}

// unreachable is a source that cannot be judged.
type unreachable struct{}

func (unreachable) Open(context.Context, pipeline.Query) (pipeline.Graph, error) {
	return nil, io.ErrClosedPipe
}

func TestWhatCannotBeReachedIsAnError(t *testing.T) {
	t.Parallel()
	if _, err := check.Run(t.Context(), unreachable{}, check.Options{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error is %v", err)
	}
}
