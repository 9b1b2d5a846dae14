package pipeline_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// sparing stamps all layers but those of a base, of which it is told how many
// layers an image of so many layers has.
type sparing struct {
	stamp
	base map[int]int
}

var _ pipeline.BaseFinder = sparing{}

func (s sparing) Bases(_ context.Context, manifests []pipeline.Manifest) (map[digest.Digest]pipeline.Base, error) {
	out := map[digest.Digest]pipeline.Base{}
	for _, m := range manifests {
		var im ocispec.Manifest
		if err := json.Unmarshal(m.Raw, &im); err != nil {
			return nil, err
		}
		if n := s.base[len(im.Layers)]; n > 0 {
			out[m.Desc.Digest] = pipeline.Base{Layers: n, Name: "the base"}
		}
	}
	return out, nil
}

func (s sparing) Layer(ctx context.Context, l pipeline.LayerInfo, next tarstream.Handler) (tarstream.Handler, error) {
	if l.Base != "" {
		return next, nil
	}
	return s.stamp.Layer(ctx, l, next)
}

// A layer can be of the base in one image and the own one of another; both come
// out right.
func TestALayerIsOfTheBaseInOneImageOnly(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	var layers [][]byte
	for _, name := range []string{"a", "b", "c"} {
		layers = append(layers, pipelinetest.Tar(t, pipelinetest.File{Name: "top/file", Body: name}))
	}
	two := s.Image(t, pipelinetest.Image{Platform: "linux/arm64", Compression: pipeline.Gzip, Layers: layers[:2]})
	three := s.Image(t, pipelinetest.Image{Platform: "linux/amd64", Compression: pipeline.Gzip, Layers: layers})
	dst := pipelinetest.NewSink()
	report := run(t, s.Source(s.Index(t, two, three)), dst, all, sparing{base: map[int]int{2: 1, 3: 2}})
	var stays [][]bool
	for _, m := range dst.Committed {
		if m.Config == nil {
			continue
		}
		_, config := manifestOf(t, m)
		var same []bool
		for i, d := range config.RootFS.DiffIDs {
			same = append(same, d == digest.FromBytes(layers[i]))
		}
		stays = append(stays, same)
	}
	if diff := cmp.Diff([][]bool{{true, false}, {true, true, false}}, stays); diff != "" {
		t.Errorf("layers that stay (-want +got):\n%s", diff)
	}
	recipes := map[string]bool{}
	for _, l := range report.Layers {
		recipes[l.Recipe] = true
	}
	if len(recipes) != 2 || !recipes[""] {
		t.Errorf("the recipes are %v", recipes)
	}
}

func TestOneFilterAsksForTheBase(t *testing.T) {
	t.Parallel()
	s, img, _ := oneLayer(t, pipeline.Plain, pipelinetest.Tar(t))
	_, err := pipeline.Run(t.Context(), s.Source(img), slices.Repeat([]pipeline.Filter{sparing{}}, 2), pipelinetest.NewSink(), all)
	if err == nil || !strings.Contains(err.Error(), "two filters ask for the base image; give base= to one of them") {
		t.Errorf("the error is %v", err)
	}
}
