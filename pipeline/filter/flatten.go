package filter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/layerpath"
	"github.com/occystrap/occystrap/pipeline/internal/spool"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// flatten is the filter of that name: the layers of an image, or those above its
// base, become one that makes the same files.
//
//	layers ─▶ spools: plain, in temporary files
//	       ─▶ tree: what is where, by headers alone, layer by layer
//	       ─▶ planner: which entries can be seen, in which order
//	       ─▶ pieces: the new layer, read from the spools whenever it is opened
//
// Entries that can be seen keep their bytes. Headers change where a name led
// through a symbolic link, and where another name of a file stands in for the one
// that is gone.
type flatten struct {
	tempDir string
	search  *baseSearch
}

var _ pipeline.Reshaper = (*flatten)(nil)

func flattenKind(d Defaults) pipeline.FilterKind {
	return pipeline.FilterKind{
		Name:    "flatten",
		Help:    "merge the layers of an image, or those above its base, into one",
		Options: []pipeline.Option{baseOption},
		New: func(o pipeline.FilterOptions) (pipeline.Filter, error) {
			search, err := newBaseSearch(d, o)
			return &flatten{d.TempDir, search}, err
		},
	}
}

// Recipe names the base.
func (f *flatten) Recipe() pipeline.Recipe {
	return pipeline.Recipe{Key: "flatten" + strings.Replace(f.search.key(), ",", ":", 1), Below: true}
}

// flattening is flatten at work on the images of a run.
type flattening struct {
	*flatten
	options pipeline.Options
	spools  *spools
	extras  []*spool.File
}

// Reshape merges layers. Images that have nothing to merge stay as they are.
func (f *flatten) Reshape(ctx context.Context, images []pipeline.Reshapable, o pipeline.Options) (shapes []*pipeline.Shape, done func() error, err error) {
	w := &flattening{flatten: f, options: o, spools: newSpools(f.tempDir, o)}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	keep, err := f.bases(ctx, images)
	if err != nil {
		return nil, nil, err
	}
	shapes = make([]*pipeline.Shape, len(images))
	for i, image := range images {
		merges, err := w.merges(ctx, image, keep[i])
		if err != nil || !merges {
			if err != nil {
				return nil, nil, err
			}
			continue
		}
		if shapes[i], err = w.merge(ctx, image, keep[i]); err != nil {
			return nil, nil, err
		}
	}
	return shapes, w.close, nil
}

// bases is how many of the lowest layers of each image stay.
func (f *flatten) bases(ctx context.Context, images []pipeline.Reshapable) ([]int, error) {
	keep := make([]int, len(images))
	if !f.search.wanted() {
		return keep, nil
	}
	var manifests []pipeline.Manifest
	for _, image := range images {
		manifests = append(manifests, image.Manifest)
	}
	found, err := f.search.find(ctx, manifests)
	for i, image := range images {
		keep[i] = found[image.Manifest.Desc.Digest].Layers
	}
	return keep, err
}

// merges says whether an image has anything to merge: several layers or, without
// a base, one with whiteouts, which hide nothing.
func (w *flattening) merges(ctx context.Context, image pipeline.Reshapable, keep int) (bool, error) {
	switch n := len(image.Layers) - keep; {
	case n == 0, n == 1 && keep > 0:
		return false, nil
	case n > 1:
		return true, nil
	}
	only := image.Layers[0]
	if err := mergeable(only); err != nil {
		return false, err
	}
	found := false
	err := scan(func() (io.ReadCloser, error) { return w.spools.plain(ctx, only) }, func(e *tarstream.Entry) error {
		found = found || layerpath.Marked(place(e.Header().Name))
		return nil
	})
	return found, w.spools.readError(only, err)
}

// mergeable says whether a layer can be looked into.
func mergeable(l pipeline.Layer) error {
	switch {
	case l.Role == pipeline.Opaque:
		return fmt.Errorf("layer %s cannot be looked into, so it cannot be merged with others: it is %s", l.Blob.Digest, cmp.Or(l.Blob.MediaType, "of no known type"))
	case !readable(l):
		return pipeline.Usage("layer %s is kept elsewhere by its URLs, so it cannot be merged with others; bring it along with --foreign=fetch", l.Blob.Digest)
	}
	return nil
}

// merge makes one layer of those above the lowest ones that stay.
func (w *flattening) merge(ctx context.Context, image pipeline.Reshapable, keep int) (*pipeline.Shape, error) {
	for _, l := range image.Layers {
		if err := mergeable(l); err != nil {
			return nil, err
		}
	}
	files, stored, err := w.spools.of(ctx, image.Layers)
	if err != nil {
		return nil, err
	}
	extra, err := spool.New(w.tempDir)
	if err != nil {
		return nil, err
	}
	w.extras = append(w.extras, extra)
	p := &planner{tree: newTree(), out: &pieces{layers: files, extra: extra}}
	for i, f := range files {
		if i == keep && keep > 0 {
			p.baseEnds()
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p.layers = append(p.layers, tarstream.NewHeaders(f, f.Size(), 0))
		p.parents = append(p.parents, tarstream.NewHeaders(f, f.Size(), 0))
		entries := w.options.Limits.WithDefaults().Entries
		p.most += entries
		limited := tarstream.NewHeaders(f, f.Size(), 2*entries) // there are two passes
		if err := p.apply(limited); err != nil {
			return nil, w.spools.readError(image.Layers[i], err)
		}
	}
	merged := len(files) - keep
	w.options.Events.Detail(fmt.Sprintf("%d layers of %s become one", merged, image.Manifest.Desc.Digest))
	if err := p.plan(); err != nil {
		return nil, err
	}
	s := &pipeline.Shape{Keep: keep, CreatedBy: fmt.Sprintf("occystrap flatten # %d layers", merged)}
	for _, l := range image.Layers {
		s.Read += l.Blob.Size
	}
	if s.Layer, err = p.out.sum(ctx); err != nil {
		return nil, err
	}
	if s.Layer.Stored = stored[len(stored)-1]; s.Layer.Stored == pipeline.Plain {
		s.Layer.Stored = ""
	}
	return s, nil
}

func (w *flattening) close() error {
	err := w.spools.close()
	for _, f := range w.extras {
		err = errors.Join(err, f.Close())
	}
	return err
}
