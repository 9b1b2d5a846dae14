//go:build integration && linux

package daemon_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"iter"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/process"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
)

// onEachDocker leaves Podman out.
func onEachDocker(t *testing.T, test func(t *testing.T, r *real)) {
	t.Helper()
	onEach(t, func(t *testing.T, r *real) {
		if !strings.HasSuffix(t.Name(), "/podman") {
			test(t, r)
		}
	})
}

// lane is a location in the daemon by a certain lane.
func (r *real) lane(name, lane string) string { return r.uri(name) + "&lane=" + lane }

// temporary are the temporary names of pulls that an image has.
func (r *real) temporary(t testing.TB, image string) (names []string) {
	t.Helper()
	found, err := r.ImageInspect(context.Background(), image)
	must(t, err)
	for _, n := range append(found.RepoTags, found.RepoDigests...) {
		if strings.Contains(n, "occystrap/pulled") {
			names = append(names, n)
		}
	}
	return names
}

// moved runs a source into a daemon and returns how its layers went.
func moved(t testing.TB, src pipeline.Source, to string) pipeline.Report {
	t.Helper()
	sink, err := schemes(daemon.Config{TempDir: t.TempDir()}).Sink(to)
	must(t, err)
	report, err := pipeline.Run(context.Background(), src, nil, sink, pipeline.Options{})
	must(t, err)
	return report
}

// TestRealDeltaMovesTheNewLayerAlone: what a daemon has is neither opened at the
// source nor sent, by the lane that it is given images by.
func TestRealDeltaMovesTheNewLayerAlone(t *testing.T) {
	t.Parallel()
	onEachDocker(t, func(t *testing.T, r *real) {
		store := pipelinetest.NewStore()
		below := [][]byte{unique(t), unique(t)}
		_ = moved(t, store.Source(store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: below})), r.uri(r.name))
		next := pipelinetest.NewStore()
		root := next.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: append(below, unique(t))})
		var m ocispec.Manifest
		decode(t, next.Bytes(root.Digest), &m)
		name := strings.TrimSuffix(r.name, ":1") + ":2"
		r.forget(t, name)
		report := moved(t, next.Source(root), r.uri(name))
		if next.Opened(m.Layers[0].Digest)+next.Opened(m.Layers[1].Digest) > 0 {
			t.Error("layers that the daemon has were opened")
		}
		if report.Read != m.Layers[2].Size || report.Layers[0].How != pipeline.HowHeld || report.Layers[2].How != pipeline.HowCopied {
			t.Errorf("%d bytes were read, layers went %+v; want the last layer alone, %d bytes", report.Read, report.Layers, m.Layers[2].Size)
		}
		whole(t, r, name, m.Layers)
		if left := r.temporary(t, name); len(left) > 0 {
			t.Errorf("temporary names are left: %v", left)
		}
	})
}

// whole reads an image out of the daemon, as save does, and compares its layers.
func whole(t testing.TB, r *real, name string, layers []ocispec.Descriptor) {
	t.Helper()
	got := pull(t, r.lane(name, daemon.LaneSave), daemon.Config{TempDir: t.TempDir()}, pipeline.Query{})
	if len(got.layers) != len(layers) {
		t.Errorf("%s is exported with %d layers, want %d", name, len(got.layers), len(layers))
	}
	for _, l := range layers {
		if r.indexes && got.layers[l.Digest] == nil {
			t.Errorf("%s is exported without layer %s", name, l.Digest)
		}
	}
}

// TestRealPullUponAnotherCompression: a store that has the layers already, in
// another compression, takes a pull for done without their blobs. The image has
// to be whole all the same.
func TestRealPullUponAnotherCompression(t *testing.T) {
	t.Parallel()
	onEachDocker(t, func(t *testing.T, r *real) {
		plain := [][]byte{unique(t), unique(t)}
		first := pipelinetest.NewStore()
		_ = moved(t, first.Source(first.Image(t, pipelinetest.Image{Compression: pipeline.Plain, Layers: plain})), r.uri(r.name))
		second := pipelinetest.NewStore()
		root := second.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: plain})
		var m ocispec.Manifest
		decode(t, second.Bytes(root.Digest), &m)
		name := strings.TrimSuffix(r.name, ":1") + ":2"
		r.forget(t, name)
		_ = moved(t, second.Source(root), r.lane(name, daemon.LanePull))
		whole(t, r, name, m.Layers)
	})
}

// TestRealPullWithoutANameIsKept: an image that the user gave no name is there
// afterwards.
func TestRealPullWithoutANameIsKept(t *testing.T) {
	t.Parallel()
	onEachDocker(t, func(t *testing.T, r *real) {
		store := pipelinetest.NewStore()
		root := store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{unique(t)}})
		report := moved(t, store.Source(root), r.lane("", daemon.LanePull))
		id := report.Roots[0].Manifest.Digest.String()
		r.forget(t, id)
		if r.holds(t, id) == "" {
			t.Errorf("the daemon does not have %s", id)
		}
	})
}

// TestRealFailedPullLeavesNothing: a layer that cannot be read ends the pull at
// once, with the reason; the name keeps its image, and no temporary one is left.
func TestRealFailedPullLeavesNothing(t *testing.T) {
	t.Parallel()
	onEachDocker(t, func(t *testing.T, r *real) {
		store := pipelinetest.NewStore()
		_ = moved(t, store.Source(store.Image(t, pipelinetest.Image{Layers: [][]byte{unique(t)}})), r.uri(r.name))
		was := r.holds(t, r.name)
		root := store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{unique(t), unique(t)}})
		var m ocispec.Manifest
		decode(t, store.Bytes(root.Digest), &m)
		src := &broken{store.Source(root), errors.New("the disk of the source is gone")}
		_, err := run(t, src, r.lane(r.name, daemon.LanePull))
		if err == nil || !strings.Contains(err.Error(), "the disk of the source is gone") {
			t.Errorf("error is %v; want the source's", err)
		}
		if now := r.holds(t, r.name); now != was {
			t.Errorf("the name is that of %s, want the old %s", now, was)
		}
		if r.holds(t, root.Digest.String()) != "" || r.holds(t, m.Config.Digest.String()) != "" {
			t.Error("the daemon holds the image that failed")
		}
		list, err := r.ImageList(context.Background(), client.ImageListOptions{})
		must(t, err)
		for _, i := range list.Items {
			for _, name := range i.RepoTags {
				if strings.Contains(name, "occystrap/pulled") && i.ID == root.Digest.String() {
					t.Errorf("%s is left", name)
				}
			}
		}
	})
}

// broken is a source whose layers fail half way.
type broken struct {
	pipeline.Source
	err error
}

func (b *broken) Open(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	g, err := b.Source.Open(ctx, q)
	return &brokenGraph{g, b.err}, err
}

type brokenGraph struct {
	pipeline.Graph
	err error
}

func (g *brokenGraph) Layers(ctx context.Context) iter.Seq2[pipeline.Layer, error] {
	return func(yield func(pipeline.Layer, error) bool) {
		for l, err := range g.Graph.Layers(ctx) {
			l.Open = func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(strings.NewReader("a few bytes"), &failing{g.err})), nil
			}
			if !yield(l, err) {
				return
			}
		}
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// TestRealNextRunTidiesUpKilledPulls: the temporary names of a process that has
// ended are taken away, with an image that has no other; those of one that lives
// stay.
func TestRealNextRunTidiesUpKilledPulls(t *testing.T) {
	t.Parallel()
	dead := endedProcess(t)
	onEachDocker(t, func(t *testing.T, r *real) {
		ctx := context.Background()
		store := pipelinetest.NewStore()
		image := func() string {
			report := moved(t, store.Source(store.Image(t, pipelinetest.Image{Layers: [][]byte{unique(t)}})), r.uri(r.name))
			return report.Roots[0].Manifest.Digest.String()
		}
		mark := strings.ToLower(rand.Text())
		names := map[string]string{"dead": dead + "." + mark, "alive": process.Name() + "." + mark}
		kept := image()
		for who, tag := range names {
			names[who] = "127.0.0.1:9/occystrap/pulled:" + tag
			_, err := r.ImageTag(ctx, client.ImageTagOptions{Source: r.name, Target: names[who]})
			must(t, err)
			r.forget(t, names[who])
		}
		orphan := strings.TrimSuffix(names["dead"], mark) + mark + "x"
		_ = image() // has the name now
		_, err := r.ImageTag(ctx, client.ImageTagOptions{Source: r.name, Target: orphan})
		must(t, err)
		lost := image()
		name := strings.TrimSuffix(r.name, ":1") + ":2"
		r.forget(t, name)
		_ = moved(t, store.Source(store.Image(t, pipelinetest.Image{Layers: [][]byte{unique(t)}})), r.lane(name, daemon.LanePull))
		if r.holds(t, names["dead"]) != "" || r.holds(t, orphan) != "" {
			t.Error("names of a process that has ended are still there")
		}
		if r.holds(t, names["alive"]) == "" || r.holds(t, kept) == "" || r.holds(t, lost) == "" {
			t.Error("a name of a process that lives was taken away, or an image with it")
		}
	})
}

// endedProcess is the name of a process that is no more.
func endedProcess(t testing.TB) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), sayWho+"=1")
	out, err := cmd.Output()
	must(t, err)
	name, _, _ := strings.Cut(string(out), "\n")
	if !process.Ended(name) {
		t.Fatalf("%q is no name of a process that has ended", name)
	}
	return name
}

// TestRealRunsAtOnceDoNotMeet: the same image under two names, and under one, by
// runs that go at once: both are right.
func TestRealRunsAtOnceDoNotMeet(t *testing.T) {
	t.Parallel()
	onEachDocker(t, func(t *testing.T, r *real) {
		store := pipelinetest.NewStore()
		root := store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{unique(t), unique(t)}})
		var m ocispec.Manifest
		decode(t, store.Bytes(root.Digest), &m)
		other := strings.TrimSuffix(r.name, ":1") + ":2"
		r.forget(t, other)
		var group errgroup.Group
		for _, name := range []string{r.name, r.name, other} {
			for _, lane := range []string{daemon.LanePull, daemon.LaneLoad} {
				group.Go(func() error {
					sink, err := schemes(daemon.Config{TempDir: t.TempDir()}).Sink(r.lane(name, lane))
					if err != nil {
						return err
					}
					_, err = pipeline.Run(context.Background(), store.Source(root), nil, sink, pipeline.Options{})
					return err
				})
			}
		}
		must(t, group.Wait())
		for _, name := range []string{r.name, other} {
			whole(t, r, name, m.Layers)
			if left := r.temporary(t, name); len(left) > 0 {
				t.Errorf("temporary names are left: %v", left)
			}
		}
	})
}
