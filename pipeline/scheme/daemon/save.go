package daemon

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/containerd/platforms"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/tarball"
)

// saveLane leads out of every daemon: the export of the Engine API, streamed.
type saveLane struct{}

var _ Lane = saveLane{}

// Name is "save".
func (saveLane) Name() string { return "save" }

// Fits everywhere.
func (saveLane) Fits(context.Context, pipeline.Side, *Place) (string, error) {
	return "the Engine API's export", nil
}

// Source reads the export of all images of t.
func (saveLane) Source(t Target) pipeline.Source { return &Source{t} }

// Sink is nil: the lane leads out only.
func (saveLane) Sink(Target) pipeline.Sink { return nil }

// A Source reads images of a daemon. Nothing is asked before Open.
type Source struct{ target Target }

var _ pipeline.Source = (*Source)(nil)

// Open finds the images and begins to read their export. The context must live
// as long as the graph: the export is cut when it ends.
func (s *Source) Open(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	cli := s.target.Place.Client
	g := &graph{cli: cli, alone: len(s.target.Images) == 1}
	var ask []string
	var opts []client.ImageSaveOption
	for _, ref := range s.target.Images {
		found, err := cli.ImageInspect(ctx, ref.Ask)
		if err != nil {
			return nil, explain(ctx, cli, "inspect image "+ref.Ask, err)
		}
		g.names = ref.names(found.ID, found.RepoTags)
		if g.alone && q.Brief && !q.Platforms.All && len(q.Platforms.Want) == 0 {
			if g.Graph, err = newBrief(ctx, cli, ref.Ask, found); err != nil {
				return nil, err
			}
			return g, nil
		}
		ask = append(ask, ref.Ask)
		// An archive of a graph driver has one image, and an older daemon no
		// choice: what is wanted is chosen from what comes.
		if g.alone && len(q.Platforms.Want) == 1 && found.Descriptor != nil && knows(cli, apiManifests) {
			p, err := onePlatform(ctx, cli, ref, q)
			if err != nil {
				return nil, err
			}
			if p != nil {
				opts = append(opts, client.ImageSaveWithPlatforms(*p))
			}
		}
	}
	q.Capacity.OneName = q.Capacity.OneName && !g.alone // one was asked for: layers may come at once
	body, err := cli.ImageSave(ctx, ask, opts...)
	if err != nil {
		return nil, explain(ctx, cli, fmt.Sprintf("export image %s", ask[0]), err)
	}
	g.body = &export{rc: body}
	g.Graph, err = tarball.OpenStream(ctx, g.body, tarball.Config{TempDir: s.target.TempDir}, q)
	if err != nil {
		return nil, errors.Join(g.because(err), body.Close())
	}
	return g, nil
}

// onePlatform returns the exact platform of the image in the daemon's index
// that suits best, so that no other is sent. Nil: let the archive tell.
func onePlatform(ctx context.Context, cli client.APIClient, ref Reference, q pipeline.Query) (*ocispec.Platform, error) {
	found, err := cli.ImageInspect(ctx, ref.Ask, client.ImageInspectWithManifests(true))
	if err != nil {
		return nil, explain(ctx, cli, "inspect image "+ref.Ask, err)
	}
	matcher := q.Platforms.Matcher()
	var best *ocispec.Platform
	for _, m := range found.Manifests {
		if m.Kind != image.ManifestKindImage || m.ImageData == nil || !matcher.Match(m.ImageData.Platform) {
			continue
		}
		p := platforms.Normalize(m.ImageData.Platform)
		if best == nil || matcher.Less(p, *best) {
			best = &p
		}
		if !m.Available {
			return nil, nil // --missing decides, and needs the whole index to
		}
	}
	return best, nil
}

// graph is the graph of an export, under the name that was asked for.
type graph struct {
	pipeline.Graph
	cli   client.APIClient
	body  *export
	alone bool // one image was asked for: names are its
	names []string
}

var (
	_ pipeline.Graph    = (*graph)(nil)
	_ pipeline.DiskUser = (*graph)(nil)
)

// Layers yields the layers of the archive as they come.
func (g *graph) Layers(ctx context.Context) iter.Seq2[pipeline.Layer, error] {
	return func(yield func(pipeline.Layer, error) bool) {
		for l, err := range g.Graph.Layers(ctx) {
			if !yield(l, g.because(err)) {
				return
			}
		}
	}
}

// Manifests yields what the archive holds. The names in it are the daemon's
// choice, so the one that was asked for stands in their place; an image asked
// for by its ID has none.
func (g *graph) Manifests(ctx context.Context) iter.Seq2[pipeline.Manifest, error] {
	return func(yield func(pipeline.Manifest, error) bool) {
		for m, err := range g.Graph.Manifests(ctx) {
			if m.Root && g.alone {
				m.Names = g.names
			}
			if !yield(m, g.because(err)) {
				return
			}
		}
	}
}

// PeakDisk is what of the export lies in a temporary file.
func (g *graph) PeakDisk() int64 {
	if u, ok := g.Graph.(pipeline.DiskUser); ok {
		return u.PeakDisk()
	}
	return 0
}

// Close ends the export: the archive closes its body.
func (g *graph) Close() error { return g.Graph.Close() }

// because adds the daemon's own words to an error in its archive, if it left
// any.
func (g *graph) because(err error) error {
	if err == nil {
		return nil
	}
	if words := g.body.complaint(); words != "" {
		return fmt.Errorf("the daemon at %s broke the export off: %s: %w", g.cli.DaemonHost(), words, err)
	}
	return err
}
