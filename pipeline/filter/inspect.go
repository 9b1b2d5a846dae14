package filter

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// inspect is the filter of that name. It changes nothing, and appends a line for
// each image to a file: its layers with digest and size as they are where the
// filter stands, and what the history says of them.
//
//	layers ─▶ Layer, Done: digest, size ─┐
//	configs ─▶ Config: history ──────────┴▶ Finish: inspectRecord ─▶ file
//
// Content is read only where the digest cannot be known otherwise: between two
// filters that change layers.
type inspect struct {
	file string

	mu       sync.Mutex
	attempts map[pipeline.LayerID]*measuring // the latest for each layer
	layers   map[pipeline.LayerID]measured
	images   []pipeline.ImageLayers
	configs  map[digest.Digest]inspectConfig // by the source's manifest
}

// measured is a layer at the filter's place.
type measured struct {
	// diffID is "" where no filter before has changed the layer.
	diffID digest.Digest
	size   int64
}

var (
	_ pipeline.Watcher      = (*inspect)(nil)
	_ pipeline.ConfigFilter = (*inspect)(nil)
	_ pipeline.Finisher     = (*inspect)(nil)
)

func inspectKind() pipeline.FilterKind {
	return pipeline.FilterKind{
		Name:    "inspect",
		Help:    "append the layers of each image to a file, as a line of JSON",
		Options: []pipeline.Option{{Name: "file", Form: pipeline.File, Help: "the file to append to"}},
		New:     func(o pipeline.FilterOptions) (pipeline.Filter, error) { return newInspect(o["file"]) },
	}
}

// newInspect looks whether the file can be there, so that nobody waits for an
// image to travel and is told then.
func newInspect(file string) (*inspect, error) {
	if file == "" {
		return nil, pipeline.Usage("inspect filter needs a file, as in inspect:file=layers.jsonl")
	}
	if s, err := os.Stat(file); err == nil && s.IsDir() {
		return nil, pipeline.Usage("inspect filter cannot write to %s: it is a directory; name a file in it", file)
	}
	if s, err := os.Stat(filepath.Dir(file)); err != nil || !s.IsDir() {
		return nil, pipeline.Usage("inspect filter cannot write to %s: the directory %s is not there; make it first", file, filepath.Dir(file))
	}
	return &inspect{
		file:     file,
		attempts: map[pipeline.LayerID]*measuring{},
		layers:   map[pipeline.LayerID]measured{},
		configs:  map[digest.Digest]inspectConfig{},
	}, nil
}

// Recipe says that layers stay as they are.
func (f *inspect) Recipe() pipeline.Recipe { return pipeline.Recipe{Key: "inspect"} }

// Layer returns the handler that measures one layer.
func (f *inspect) Layer(_ context.Context, l pipeline.LayerInfo, next tarstream.Handler) (tarstream.Handler, error) {
	m := &measuring{filtered: l.Filtered}
	if l.Filtered && !l.Final {
		m.sum = tarstream.NewSum(next)
		next = m.sum
	}
	m.Size = tarstream.NewSize(next)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.attempts[l.ID] = m
	return m, nil
}

// measuring is inspect at work on one layer.
type measuring struct {
	*tarstream.Size
	filtered bool
	sum      *tarstream.Sum // nil: nobody needs it, or Done tells
}

// Done learns that a layer has been read.
func (f *inspect) Done(l pipeline.LayerSeen) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.attempts[l.ID]
	delete(f.attempts, l.ID)
	if m == nil || l.Err != nil {
		return nil
	}
	at := measured{size: m.Bytes()}
	if m.filtered {
		if at.diffID = l.DiffID; m.sum != nil {
			at.diffID = m.sum.Digest()
		}
		if at.diffID == l.SourceDiffID {
			at.diffID = ""
		}
	}
	f.layers[l.ID] = at
	return nil
}

// Images tells which layers make up which image.
func (f *inspect) Images(images []pipeline.ImageLayers) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.images = images
	return nil
}

// Config reads the history as it is where the filter stands.
func (f *inspect) Config(_ context.Context, image ocispec.Descriptor, config []byte) ([]byte, error) {
	c, err := readInspectConfig(config)
	if err != nil {
		return nil, fmt.Errorf("inspect: config of image %s: %w", image.Digest, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.configs[image.Digest] = c
	return config, nil
}

// Finish appends the lines, all at once.
func (f *inspect) Finish(context.Context, []pipeline.Manifest) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var lines []byte
	for _, image := range f.images {
		lines = append(lines, f.record(image).line()...)
	}
	file, err := os.OpenFile(f.file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644) //nolint:gosec // a list of layers is no secret
	if err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	if _, err := file.Write(lines); err != nil {
		_ = file.Close()
		return fmt.Errorf("inspect: %w", err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	return nil
}

// record is what there is to tell of an image.
func (f *inspect) record(image pipeline.ImageLayers) inspectRecord {
	config := f.configs[image.Manifest.Digest]
	out := inspectRecord{names: image.Names}
	if len(f.images) > 1 {
		out.platform = config.platform
	}
	if len(out.names) == 0 {
		out.names = []string{"unknown:unknown"}
	}
	layers := slices.Clone(image.Layers)
	if len(layers) > config.layers { // the config knows nothing of those that are skipped
		layers = slices.DeleteFunc(layers, func(l pipeline.ImageLayer) bool { return l.Foreign == pipeline.ForeignSkip })
	}
	for i, l := range layers {
		at := f.layers[l.ID]
		entry := inspectLayer{id: l.Blob.Digest, size: at.size}
		if at.diffID != "" {
			entry.id = at.diffID
		}
		if i < len(config.history) {
			entry.history = config.history[i]
		}
		out.layers = append(out.layers, entry)
	}
	return out
}
