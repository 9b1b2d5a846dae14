package pipeline

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Watcher is a LayerFilter that changes nothing and gives results while a run
// goes on. It sees every layer, whatever the sink or a cache holds.
//
//	Layer ─▶ its handler sees the entries ─▶ Done      for each layer, at once
//	Images                                             once, before or after
type Watcher interface {
	LayerFilter
	// Images tells which layers make up which images, the lowest layer first. It
	// is called once: before the first layer where the source knows, else after
	// the last.
	Images(images []ImageLayers) error
	// Done says that the layer has been read: what the handler saw that Layer
	// returned last, counts. It is called from many goroutines. An error ends the
	// run.
	Done(l LayerSeen) error
}

// A LayerSeen is a layer that a Watcher has seen.
type LayerSeen struct {
	ID LayerID
	// SourceDiffID is the digest of the source's tar. DiffID is that of the tar as
	// the filters leave it: where LayerInfo.Final was set, of what the handler saw.
	SourceDiffID, DiffID digest.Digest
	// Err is why the layer could not be read: Look then goes on. Run gives up
	// and does not call Done.
	Err error
}

// A StreamWatcher also wants to know how layers are stored. It is told by Look,
// before Done.
type StreamWatcher interface {
	Watcher
	Stored(id LayerID, s Stored)
}

// Stored is what reading a layer has shown of its compressed stream.
type Stored struct {
	Compression Compression
	// Members is the number of gzip members; 0 where it is not counted.
	Members int
	// Plain is the number of bytes of the tar.
	Plain int64
}

// A LayerID tells the layers of a run apart: LayerInfo.ID. It is comparable.
type LayerID struct{ key layerKey }

// ImageLayers are one image of a run, as its source has it.
type ImageLayers struct {
	// Names are those of the image or of the index that lists it.
	Names    []string
	Manifest ocispec.Descriptor
	Layers   []ImageLayer
}

// An ImageLayer is one layer at its place in an image.
type ImageLayer struct {
	ID   LayerID
	Blob ocispec.Descriptor
	// Foreign is what happens to a layer with URLs; "" for an ordinary one.
	Foreign Foreign
}

// Unread says that the layer is kept elsewhere by its URLs, or skipped, and never
// read.
func (l ImageLayer) Unread() bool { return l.Foreign.unread() }

// watchImages tells the watchers of the images, once.
func (r *run) watchImages(manifests []Manifest) error {
	if len(r.watchers) == 0 || r.told {
		return nil
	}
	r.told = true
	images, err := r.imageLayers(manifests)
	if err != nil {
		return on(SourceSide, err)
	}
	for _, w := range r.watchers {
		if err := w.Images(images); err != nil {
			return on(FilterSide, err)
		}
	}
	return nil
}

// watchDone tells the watchers that a layer has been read.
func (r *run) watchDone(l Layer, o *outcome, err error) error {
	if l.Role == Opaque || l.Foreign.unread() {
		return nil
	}
	seen := LayerSeen{ID: LayerID{keyOf(l, r.below)}, Err: err}
	if o != nil {
		seen.SourceDiffID, seen.DiffID = o.SourceDiffID, cmp.Or(o.ResultDiffID, o.SourceDiffID)
	}
	for _, w := range r.watchers {
		if err := w.Done(seen); err != nil {
			return on(FilterSide, fmt.Errorf("layer %s: %w", short(l.Blob.Digest), err))
		}
	}
	return nil
}

// watchStored tells the watchers how a layer is stored.
func (r *run) watchStored(l Layer, s Stored) {
	for _, w := range r.watchers {
		if w, ok := w.(StreamWatcher); ok {
			w.Stored(LayerID{keyOf(l, r.below)}, s)
		}
	}
}

// imageLayers finds the images among manifests, with their layers.
func (r *run) imageLayers(manifests []Manifest) (images []ImageLayers, err error) {
	names, err := namesOf(manifests)
	if err != nil {
		return nil, err
	}
	for _, m := range manifests {
		if IsIndex(m.Desc.MediaType) {
			continue
		}
		im, err := parseManifest(m.Desc, m.Raw)
		if err != nil {
			return nil, err
		}
		_, image, faults := readImageConfig(im, m.Config)
		if err := firstOf(faults); err != nil && r.opts.Faults == nil {
			return nil, fmt.Errorf("config %s: %w", im.Config.Digest, err)
		}
		if !image {
			continue
		}
		out := ImageLayers{Names: names[m.Desc.Digest], Manifest: m.Desc}
		for i, desc := range im.Layers {
			if !isOpaque(desc.MediaType) {
				out.Layers = append(out.Layers, r.imageLayer(m.Desc.Digest, im.Layers, i))
			}
		}
		images = append(images, out)
	}
	return images, nil
}

func (r *run) imageLayer(of digest.Digest, layers []ocispec.Descriptor, i int) ImageLayer {
	foreign := foreignPolicy(layers[i], r.opts.Query)
	id := r.useOf(of, layers, i, FileSystem)
	return ImageLayer{ID: LayerID{id}, Blob: layers[i], Foreign: foreign}
}

// namesOf are the names of all manifests: their own and those of what lists
// them.
func namesOf(manifests []Manifest) (map[digest.Digest][]string, error) {
	names := map[digest.Digest][]string{}
	for _, m := range slices.Backward(manifests) { // parents before children
		have := append(slices.Clone(m.Names), names[m.Desc.Digest]...)
		names[m.Desc.Digest] = have
		if !IsIndex(m.Desc.MediaType) {
			continue
		}
		entries, err := parseIndex(m.Desc, m.Raw)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			names[e.Digest] = append(names[e.Digest], have...)
		}
	}
	return names, nil
}
