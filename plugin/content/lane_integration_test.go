//go:build integration && linux

package content_test

import (
	"context"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
	"github.com/occystrap/occystrap/plugin/content"
)

// A docker is the Docker of the test environment that keeps its images in
// containerd, and a view of them there.
type docker struct {
	*real
	socket string
}

func meetDocker(t testing.TB) *docker {
	t.Helper()
	d := &docker{real: meet(t), socket: pipelinetest.Env(t, "OCCYSTRAP_TEST_DOCKER29")}
	d.ctx = namespaces.WithNamespace(d.ctx, "moby")
	d.name = d.image(t)
	return d
}

func (d *docker) schemes(t testing.TB) pipeline.Schemes {
	return pipeline.Schemes{daemon.Scheme(daemon.Config{Lanes: []daemon.Lane{content.Lane(content.LaneConfig{})}, Events: details(t)})}
}

func (d *docker) uri(name string) string {
	return "docker://" + name + "?lane=content&socket=" + d.socket
}

// forget removes what Docker keeps of an image without a name.
func (d *docker) forget(t testing.TB, was digest.Digest) {
	t.Cleanup(func() {
		err := d.ImageService().Delete(d.ctx, "moby-dangling@"+was.String(), images.SynchronousDelete())
		if err != nil && !errdefs.IsNotFound(err) {
			t.Error(err)
		}
	})
}

// put writes an image into Docker, by the lane content.
func (d *docker) put(t testing.TB, src pipeline.Source, name string) pipeline.Report {
	t.Helper()
	sink, err := d.schemes(t).Sink(d.uri(name))
	must(t, err)
	report, err := pipeline.Run(t.Context(), src, nil, sink, pipeline.Options{Query: pipeline.Query{Platforms: pipeline.Platforms{All: true}}})
	must(t, err)
	return report
}

// whole reads all that an image has in Docker, by the lane content.
func (d *docker) whole(t testing.TB, name string, want pipeline.Report) {
	t.Helper()
	src, err := d.schemes(t).Source(d.uri(name))
	must(t, err)
	must(t, pipeline.Verify(t.Context(), src, want, pipeline.Options{Query: pipeline.Query{
		Platforms: pipeline.Platforms{All: true}, Missing: pipeline.MissingFail, Events: details(t),
	}}))
}

// An index goes into Docker and out of it as it is, attestations included.
func TestLaneCarriesWholeIndexes(t *testing.T) {
	t.Parallel()
	d, s := meetDocker(t), pipelinetest.NewStore()
	amd, _ := unique(t, s, "linux/amd64")
	arm, _ := unique(t, s, "linux/arm64")
	index := s.Index(t, amd, arm, s.Attestation(t, amd.Digest))
	report := d.put(t, s.Source(index, d.name), d.name)
	if got := d.target(t, d.name); got != index.Digest || report.Roots[0].Manifest.Digest != got {
		t.Errorf("Docker has %s, the run tells %s, want %s", got, report.Roots[0].Manifest.Digest, index.Digest)
	}
	d.whole(t, d.name, report)
}

// What had the name stays in Docker without one, as after a load; and an image
// without a name is there by its digest.
func TestLaneNamesImagesAsDockerDoes(t *testing.T) {
	t.Parallel()
	d, s := meetDocker(t), pipelinetest.NewStore()
	first, _ := unique(t, s, "linux/amd64")
	second, _ := unique(t, s, "linux/amd64")
	nameless, _ := unique(t, s, "linux/amd64")
	for _, desc := range []ocispec.Descriptor{first, second, nameless} {
		d.forget(t, desc.Digest)
	}
	was := d.put(t, s.Source(first, d.name), d.name)
	d.put(t, s.Source(second, d.name), d.name)
	if got := d.target(t, d.name); got != second.Digest {
		t.Errorf("the name has %s, want %s", got, second.Digest)
	}
	if got := d.target(t, "moby-dangling@"+first.Digest.String()); got != first.Digest {
		t.Errorf("of the image that had the name there is %q", got)
	}
	if got := d.target(t, "moby-dangling@"+second.Digest.String()); got != "" {
		t.Errorf("the image with a name is there without one, too: %s", got)
	}
	d.whole(t, first.Digest.String(), was)
	d.whole(t, nameless.Digest.String(), d.put(t, s.Source(nameless), ""))
}

// A store that has the layers unpacked, in another compression, gets the blobs all
// the same: when the other image is gone, this one is whole.
func TestLaneEndsCompleteUponOtherCompressions(t *testing.T) {
	t.Parallel()
	d, s := meetDocker(t), pipelinetest.NewStore()
	plain := everything(t)
	other := d.image(t)
	gzip := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: plain})
	zstd := s.Image(t, pipelinetest.Image{Compression: pipeline.Zstd, Layers: plain})
	d.put(t, s.Source(gzip, other), other)
	report := d.put(t, s.Source(zstd, d.name), d.name)
	if got := d.layersIn(d.ctx, t, d.name); len(got) != len(plain) {
		t.Errorf("it has %d layers unpacked, want %d", len(got), len(plain))
	}
	must(t, d.ImageService().Delete(d.ctx, other, images.SynchronousDelete()))
	d.whole(t, d.name, report)
}

// Without a socket that this user may use, and without a sidecar, the lane says why
// it does not fit.
func TestLaneSaysWhyItDoesNotFit(t *testing.T) {
	t.Parallel()
	lane := content.Lane(content.LaneConfig{})
	for name, p := range map[string]*daemon.Place{
		"graph driver": {Store: daemon.StoreGraph},
		"away":         {Store: daemon.StoreContainerd, FilesAway: "it is another machine"},
		"old":          {Store: daemon.StoreContainerd, API: "1.45"},
		"no socket":    {Store: daemon.StoreContainerd, Containerd: t.TempDir() + "/none", Namespace: "moby"},
	} {
		for _, side := range []pipeline.Side{pipeline.SourceSide, pipeline.SinkSide} {
			if why, err := lane.Fits(context.Background(), side, p); err == nil {
				t.Errorf("%s, %s: it fits: %s", name, side, why)
			}
		}
	}
}
