package check

import (
	"encoding/json"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// image is an image with what its manifest and config say.
type image struct {
	Image
	bare     bool // only the config is known (pipeline.Query.Brief)
	manifest ocispec.Manifest
	config   *config // nil where there is none to read
	platform *ocispec.Platform
	faults   map[string]bool // checks that have failed already
}

// index is an index or manifest list.
type index struct {
	desc  ocispec.Descriptor
	names []string
	index ocispec.Index
	known map[string]bool // digests of images that were read
}

// config is what checks need of an image's config.
type config struct {
	ocispec.Platform
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
	History []struct {
		CreatedBy string `json:"created_by"`
		Empty     bool   `json:"empty_layer"`
	} `json:"history"`
	Config struct {
		Env         []string `json:"Env"`
		ArgsEscaped bool     `json:"ArgsEscaped"`
	} `json:"config"`
}

// parse finds the images and indexes among manifests. What cannot be read is
// told as a fault elsewhere, and left out.
func parse(manifests []pipeline.Manifest) (images []*image, indexes []*index) {
	known := map[string]bool{}
	for _, m := range manifests {
		known[m.Desc.Digest.String()] = true
	}
	names := pipeline.NamesOf(manifests)
	for _, m := range manifests {
		if m.Raw != nil && pipeline.IsIndex(m.Desc.MediaType) {
			x := &index{desc: m.Desc, names: names[m.Desc.Digest], known: known}
			if json.Unmarshal(m.Raw, &x.index) == nil {
				indexes = append(indexes, x)
			}
			continue
		}
		i := &image{Image: Image{Names: names[m.Desc.Digest], Manifest: m.Desc}, faults: map[string]bool{}}
		if i.bare = m.Raw == nil; !i.bare && (json.Unmarshal(m.Raw, &i.manifest) != nil || !pipeline.IsImage(m)) {
			continue
		}
		var c config
		if m.Config != nil && json.Unmarshal(m.Config, &c) == nil {
			i.config = &c
		}
		i.Size = i.manifest.Config.Size
		for _, l := range i.manifest.Layers {
			i.Size += max(0, l.Size)
		}
		images = append(images, i)
	}
	for _, x := range indexes {
		x.tellPlatforms(images)
	}
	return images, indexes
}

// tellPlatforms says what the index lists its images for.
func (x *index) tellPlatforms(images []*image) {
	for _, e := range x.index.Manifests {
		for _, i := range images {
			if i.Manifest.Digest == e.Digest && e.Platform != nil {
				i.platform = e.Platform
			}
		}
	}
}

// used are the history's entries that made a layer.
func (c *config) used() (n int) {
	for _, h := range c.History {
		if !h.Empty {
			n++
		}
	}
	return n
}

// fails says whether one of the checks has failed already.
func (i *image) fails(checks ...string) bool {
	return slices.ContainsFunc(checks, func(id string) bool { return i.faults[id] })
}
