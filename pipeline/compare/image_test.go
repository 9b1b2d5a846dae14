package compare_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/compare"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// once is a source that can be opened once.
type once struct {
	pipeline.Source
	done bool
}

var errAgain = errors.New("it was opened again")

func (o *once) Open(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	if o.done {
		return nil, errAgain
	}
	o.done = true
	return o.Source.Open(ctx, q)
}

func TestIdenticalImagesAreNotRead(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	a := image(t, s, []file{{Name: "a"}})
	c := run(t, s.Source(a, "one:1"), s.Source(a, "two:1"), compare.Options{})
	if !c.Identical || !c.SameConfig || !c.Equal() || !c.A.Layers[0].Shared || c.A.Layers[0].Read || opened(t, s, a)[0] > 0 {
		t.Errorf("%+v", c)
	}
}

func TestHowLayersAreStoredDoesNotCount(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	layers := [][]byte{pipelinetest.Tar(t, file{Name: "a"})}
	a := s.Image(t, pipelinetest.Image{Layers: layers, Compression: pipeline.Gzip})
	b := s.Image(t, pipelinetest.Image{Layers: layers, Compression: pipeline.Zstd})
	c := run(t, s.Source(a), s.Source(b), compare.Options{})
	if c.Identical || !c.SameConfig || !c.Equal() {
		t.Errorf("%+v", c)
	}
	if c.A.Layers[0].Blob.Digest == c.B.Layers[0].Blob.Digest || !c.B.Layers[0].Shared {
		t.Errorf("layers are %+v and %+v", c.A.Layers, c.B.Layers)
	}
}

func TestConfigsAreComparedFieldByField(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	at := func(n int64) *time.Time { u := time.Unix(n, 0).UTC(); return &u }
	a := s.Image(t, pipelinetest.Image{
		Annotations: map[string]string{"kept": "k", "org.opencontainers.image.created": "1"},
		Config: ocispec.ImageConfig{
			Env: []string{"PATH=/bin", "GONE=x", "SAME=s", "EMPTY="}, Labels: map[string]string{"l": "1", "a.b": "same"}, User: "root",
			Cmd: []string{"sh"}, ExposedPorts: map[string]struct{}{"80/tcp": {}, "81/tcp": {}}, WorkingDir: "/",
		},
		History: []ocispec.History{{CreatedBy: "one", Created: at(1)}, {CreatedBy: "two", Created: at(1)}},
	})
	b := s.Image(t, pipelinetest.Image{
		Annotations: map[string]string{"kept": "k", "org.opencontainers.image.created": "2"}, Platform: "linux/arm64",
		Config: ocispec.ImageConfig{
			Env: []string{"SAME=s", "PATH=/usr/bin", "NEW=n=n"}, Labels: map[string]string{"l": "2", "a.b": "same"},
			Cmd: []string{"sh", "-c"}, ExposedPorts: map[string]struct{}{"80/tcp": {}, "82/tcp": {}}, WorkingDir: "/",
		},
		History: []ocispec.History{{CreatedBy: "one", Created: at(2)}, {CreatedBy: "three", Created: at(1)}},
	})
	c := run(t, s.Source(a), s.Source(b), compare.Options{IgnoreTimes: true})
	var got []string
	for _, d := range c.Config {
		got = append(got, fmt.Sprintf("%s: %v %v", d.Field, d.A, d.B))
	}
	expect(t, got,
		"architecture: amd64 arm64",
		"config.Cmd: [sh] [sh -c]",
		"config.Env.EMPTY: true <nil>", "config.Env.GONE: x <nil>", "config.Env.NEW: <nil> n=n", "config.Env.PATH: /bin /usr/bin",
		"config.ExposedPorts.81/tcp: true <nil>", "config.ExposedPorts.82/tcp: <nil> true",
		"config.Labels.l: 1 2", "config.User: root <nil>",
	)
	if h := c.History; h == nil || h.First != 1 || len(h.Entries) != 1 || h.Entries[0].Field != "history[1]" || !reflect.DeepEqual(h.Entries[0].B, map[string]any{"created_by": "three"}) {
		t.Errorf("the history is %+v", h)
	}
	c = run(t, s.Source(a), s.Source(b), compare.Options{})
	if len(c.Config) != 11 || c.Config[10].Field != "annotations.org.opencontainers.image.created" || c.History.First != 0 || c.Equal() {
		t.Errorf("with times: %+v, %+v", c.Config, c.History)
	}
}

func TestOneImageIsChosenOrAskedFor(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	one := image(t, s, []file{{Name: "a"}})
	all := pipeline.Options{Query: pipeline.Query{Platforms: pipeline.Platforms{All: true}}}
	ours := one
	platform := pipeline.DefaultPlatform()
	ours.Platform = &platform
	other := s.Image(t, pipelinetest.Image{Platform: "linux/s390x", Layers: [][]byte{pipelinetest.Tar(t, file{Name: "z"})}})
	index := s.Index(t, other, ours, s.Attestation(t, one.Digest))
	c := run(t, s.Source(one), s.Source(index), compare.Options{Pipeline: all})
	if !c.Identical {
		t.Error("of an index another image than this machine's was taken")
	}
	several := s.Source(one, "docker.io/library/one:1")
	several.Roots = append(several.Roots, pipeline.Root{Desc: other, Names: []string{"docker.io/library/two:1"}})
	_, err := compare.Run(t.Context(), compare.Input{Source: s.Source(one)}, compare.Input{Source: several}, compare.Options{})
	if err == nil || !strings.Contains(err.Error(), "it holds 2 images") || !strings.Contains(err.Error(), "library/two:1 (linux/s390x)") {
		t.Errorf("two images: %v", err)
	}
	artifact := s.Source(s.Attestation(t, one.Digest))
	if _, err := compare.Run(t.Context(), compare.Input{Source: artifact}, compare.Input{Source: several}, compare.Options{}); err == nil || !strings.Contains(err.Error(), "no image") {
		t.Errorf("an attestation: %v", err)
	}
}
