package compare

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// An Image is one of the two that are compared.
type Image struct {
	Names []string
	// Manifest describes the manifest; Config its config. Of a daemon's image that
	// was not exported only the one is known by which the daemon calls it.
	Manifest, Config ocispec.Descriptor
	// Layers are the lowest first.
	Layers []Layer
	// Unread are positions of layers whose files should have been compared and could
	// not: they are kept elsewhere by their URLs.
	Unread []int

	bare        bool // its manifest is not known, and its config as far as a daemon tells
	config      map[string]any
	history     []map[string]any
	annotations map[string]string
	layers      []layerRuns // what was read
}

// A Layer is one layer of an Image.
type Layer struct {
	// Blob is as the manifest lists it; empty where that is not known.
	Blob   ocispec.Descriptor
	DiffID digest.Digest
	// Shared: the other image has the same at the same place, and below it.
	Shared bool
	// Read says whether files of it were looked at, here or in the other image.
	Read bool
}

// errNoImage is what a source without an image is.
var errNoImage = errors.New("it holds no image")

// newImage finds the one image among the manifests of a source.
func newImage(manifests []pipeline.Manifest) (*Image, error) {
	m, err := choose(manifests)
	if err != nil {
		return nil, err
	}
	i := &Image{Names: pipeline.NamesOf(manifests)[m.Desc.Digest], Manifest: m.Desc, bare: m.Raw == nil}
	var manifest ocispec.Manifest
	if !i.bare {
		if err := json.Unmarshal(m.Raw, &manifest); err != nil {
			return nil, fmt.Errorf("manifest %s: %w", m.Desc.Digest, err)
		}
		i.Config, i.annotations = manifest.Config, manifest.Annotations
	} else if !pipeline.IsIndex(m.Desc.MediaType) && !pipeline.IsManifest(m.Desc.MediaType) {
		i.Config, i.Manifest = m.Desc, ocispec.Descriptor{Platform: m.Desc.Platform} // a graph driver knows images by their config
	}
	if err := i.readConfig(m.Config); err != nil {
		return nil, fmt.Errorf("config %s: %w", i.Config.Digest, err)
	}
	for n, l := range manifest.Layers {
		if n < len(i.Layers) {
			i.Layers[n].Blob = l
		}
	}
	return i, nil
}

func (i *Image) readConfig(raw []byte) error {
	var known struct {
		RootFS  ocispec.RootFS   `json:"rootfs"`
		History []map[string]any `json:"history"`
	}
	if err := json.Unmarshal(raw, &known); err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &i.config); err != nil {
		return err
	}
	i.history = known.History
	for _, d := range known.RootFS.DiffIDs {
		i.Layers = append(i.Layers, Layer{DiffID: d})
	}
	return nil
}

// choose takes the only image, or of one index that for this machine.
func choose(manifests []pipeline.Manifest) (pipeline.Manifest, error) {
	var images []pipeline.Manifest
	roots := 0
	for _, m := range manifests {
		if m.Root {
			roots++
		}
		if m.Raw == nil || pipeline.IsImage(m) {
			images = append(images, m)
		}
	}
	switch {
	case len(images) == 0:
		return pipeline.Manifest{}, errNoImage
	case len(images) == 1:
		return images[0], nil
	}
	if roots == 1 {
		ours := platforms.Only(pipeline.DefaultPlatform())
		for _, m := range images {
			if m.Desc.Platform != nil && ours.Match(*m.Desc.Platform) {
				return m, nil
			}
		}
	}
	names := pipeline.NamesOf(manifests)
	var have []string
	for _, m := range images {
		name := m.Desc.Digest.String()
		if n := names[m.Desc.Digest]; len(n) > 0 {
			name = n[0]
		}
		if m.Desc.Platform != nil {
			name += " (" + platforms.FormatAll(*m.Desc.Platform) + ")"
		}
		have = append(have, name)
	}
	return pipeline.Manifest{}, fmt.Errorf("it holds %d images, and one can be compared; choose by ?image=NAME or --platform among %s", len(images), strings.Join(have, ", "))
}

// diffIDs are the diff IDs from a position on.
func (i *Image) diffIDs(from int) map[digest.Digest]bool {
	out := map[digest.Digest]bool{}
	for _, l := range i.Layers[from:] {
		out[l.DiffID] = true
	}
	return out
}

// sameLayers says whether the file systems of both must be the same.
func sameLayers(a, b *Image) bool {
	return len(a.Layers) == len(b.Layers) && sharedLayers(a, b) == len(a.Layers)
}

// sharedLayers is how many layers at the bottom both have.
func sharedLayers(a, b *Image) (n int) {
	for n < min(len(a.Layers), len(b.Layers)) && a.Layers[n].DiffID == b.Layers[n].DiffID {
		n++
	}
	return n
}
