package cliplugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/check"
)

// inspected is what info shows of a source.
type inspected struct {
	images []*inspectedImage
	// entries are what the source's indexes list, held or not, those included
	// that one image is shown of.
	entries []inspectedEntry
}

// inspectedImage is one image.
type inspectedImage struct {
	names    []string
	desc     ocispec.Descriptor
	index    digest.Digest // that lists it; "" for none
	bare     bool          // only the config is known
	manifest ocispec.Manifest
	config   ocispec.Image
	layers   []inspectedLayer
	empty    int // entries of the history without a layer
	waste    *check.Waste
}

// inspectedLayer is a layer with the history's entry that made it.
type inspectedLayer struct {
	ocispec.Descriptor
	diffID  digest.Digest
	history *ocispec.History // nil: the history does not say
}

// inspectedEntry is an entry of an index.
type inspectedEntry struct {
	ocispec.Descriptor
	index digest.Digest
	// held says whether the source has it; nil where nobody asked, since one
	// image was chosen from the index.
	held *bool
}

// listings are the indexes that single images were chosen from, each once.
type listings []pipeline.Manifest

func (l *listings) add(index ocispec.Descriptor, raw []byte) {
	known := func(m pipeline.Manifest) bool { return m.Desc.Digest == index.Digest }
	if !slices.ContainsFunc(*l, known) {
		*l = append(*l, pipeline.Manifest{Desc: index, Raw: raw})
	}
}

// inspect reads manifests and configs, and no layer.
func inspect(ctx context.Context, src pipeline.Source, opts pipeline.Options) (*inspected, error) {
	var chosenFrom listings
	opts.Listed = chosenFrom.add
	manifests, err := pipeline.ReadManifests(ctx, src, opts.Query)
	if err != nil {
		return nil, err
	}
	return newInspected(manifests, chosenFrom)
}

// inspectDeep reads the layers too, each once.
func inspectDeep(ctx context.Context, src pipeline.Source, opts pipeline.Options) (*inspected, error) {
	var chosenFrom listings
	opts.Listed = chosenFrom.add
	report, err := check.Run(ctx, src, check.Options{Pipeline: opts})
	if err != nil {
		return nil, err
	}
	for _, r := range report.Results {
		if r.Severity == check.Error && spoils[r.Check] {
			return nil, errors.New(r.Message)
		}
	}
	out, err := newInspected(report.Manifests, chosenFrom)
	if err != nil {
		return nil, err
	}
	for _, i := range out.images {
		for _, checked := range report.Images {
			if checked.Manifest.Digest == i.desc.Digest {
				i.waste = checked.Waste
			}
		}
	}
	return out, nil
}

// spoils are the checks without which it is not known what an image has.
var spoils = map[string]bool{
	"layer-read": true, "layer-digest": true, "tar-format": true, "missing-blob": true, "config-descriptor": true, "config-digest": true,
	"config-format": true, "manifest-digest": true, "manifest-format": true, "layer-descriptor": true,
}

func newInspected(manifests []pipeline.Manifest, chosenFrom listings) (*inspected, error) {
	out := &inspected{}
	held := map[digest.Digest]bool{}
	for _, m := range manifests {
		held[m.Desc.Digest] = true
	}
	if err := out.addIndexes(manifests, held); err != nil {
		return nil, err
	}
	if err := out.addIndexes(chosenFrom, nil); err != nil {
		return nil, err
	}
	listedBy := map[digest.Digest]digest.Digest{}
	for _, e := range out.entries {
		listedBy[e.Digest] = e.index
	}
	names := pipeline.NamesOf(manifests)
	for _, m := range manifests {
		if m.Raw != nil && !pipeline.IsImage(m) {
			continue
		}
		i, err := newInspectedImage(m)
		if err != nil {
			return nil, err
		}
		i.names, i.index = names[m.Desc.Digest], listedBy[m.Desc.Digest]
		out.images = append(out.images, i)
	}
	return out, nil
}

// addIndexes adds what indexes list; held is what of it the source has, where
// that is known.
func (a *inspected) addIndexes(manifests []pipeline.Manifest, held map[digest.Digest]bool) error {
	for _, m := range manifests {
		if !pipeline.IsIndex(m.Desc.MediaType) || m.Raw == nil {
			continue
		}
		var index ocispec.Index
		if err := json.Unmarshal(m.Raw, &index); err != nil {
			return fmt.Errorf("index %s: %w", m.Desc.Digest, err)
		}
		for _, e := range index.Manifests {
			entry := inspectedEntry{Descriptor: e, index: m.Desc.Digest}
			if held != nil {
				has := held[e.Digest]
				entry.held = &has
			}
			a.entries = append(a.entries, entry)
		}
	}
	return nil
}

func newInspectedImage(m pipeline.Manifest) (*inspectedImage, error) {
	i := &inspectedImage{desc: m.Desc}
	if i.bare = m.Raw == nil; !i.bare {
		if err := json.Unmarshal(m.Raw, &i.manifest); err != nil {
			return nil, fmt.Errorf("manifest %s: %w", m.Desc.Digest, err)
		}
	}
	if err := json.Unmarshal(m.Config, &i.config); err != nil {
		return nil, fmt.Errorf("config %s: %w", i.manifest.Config.Digest, err)
	}
	var made []*ocispec.History
	for n := range i.config.History {
		if h := &i.config.History[n]; h.EmptyLayer {
			i.empty++
		} else {
			made = append(made, h)
		}
	}
	stored := i.manifest.Layers
	if i.bare {
		stored = make([]ocispec.Descriptor, len(i.config.RootFS.DiffIDs))
	}
	for n, l := range stored {
		layer := inspectedLayer{Descriptor: l}
		if n < len(i.config.RootFS.DiffIDs) {
			layer.diffID = i.config.RootFS.DiffIDs[n]
		}
		if n < len(made) {
			layer.history = made[n]
		}
		i.layers = append(i.layers, layer)
	}
	return i, nil
}

// compressed is the size of all layers as stored.
func (i *inspectedImage) compressed() (n int64) {
	for _, l := range i.layers {
		n += l.Size
	}
	return n
}

// digests are those of the config, the manifest and the index; "" where it is
// not known or there is none.
func (i *inspectedImage) digests() (config, manifest, index digest.Digest) {
	switch {
	case !i.bare:
		return i.manifest.Config.Digest, i.desc.Digest, i.index
	case pipeline.IsIndex(i.desc.MediaType):
		return "", "", i.desc.Digest
	case pipeline.IsManifest(i.desc.MediaType):
		return "", i.desc.Digest, ""
	}
	return i.desc.Digest, "", "" // a graph driver knows images by their config
}
