package dir

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/imagename"
	"github.com/occystrap/occystrap/pipeline/internal/ocilayout"
)

// The files of an OCI layout.
const (
	indexJSON  = ocispec.ImageIndexFile
	layoutFile = ocispec.ImageLayoutFile
)

// layoutImages are the images that index.json lists and the directory holds.
func (c *content) layoutImages(q pipeline.Query) ([]image, error) {
	raw, err := c.read(indexJSON)
	if err != nil {
		return nil, err
	}
	if _, err := pipeline.ParseObject(raw); err != nil {
		return nil, fmt.Errorf("%s: %w", indexJSON, err)
	}
	var idx ocispec.Index
	if err := json.Unmarshal(raw, &idx); err != nil {
		return nil, fmt.Errorf("%s: %w", indexJSON, err)
	}
	if limit := c.limits.WithDefaults().Manifests; len(idx.Manifests) > limit {
		return nil, fmt.Errorf("%s lists %d images: %w of %d", indexJSON, len(idx.Manifests), pipeline.ErrLimit, limit)
	}
	var images []image
	var missing []string
	for _, desc := range idx.Manifests {
		if err := desc.Digest.Validate(); err != nil {
			return nil, fmt.Errorf("%s: digest %q: %w", indexJSON, desc.Digest, err)
		}
		if size, err := c.size(ocilayout.Blob(desc.Digest)); err != nil {
			return nil, err
		} else if size < 0 {
			missing = append(missing, desc.Digest.String())
			continue
		}
		names, tag := namesOf(desc, q.Events)
		if i := slices.IndexFunc(images, func(r image) bool { return r.Desc.Digest == desc.Digest }); i >= 0 {
			images[i].Names, images[i].Tags = imagename.Append(images[i].Names, names...), imagename.Append(images[i].Tags, tag)
			continue
		}
		images = append(images, image{Root: pipeline.Root{Desc: desc, Names: names, Tags: imagename.Append(nil, tag)}})
	}
	switch {
	case len(missing) > 0 && (len(images) == 0 || q.Missing == pipeline.MissingFail):
		return nil, fmt.Errorf("it lists manifest %s but does not hold it: %w; save the image again", missing[0], pipeline.ErrNotFound)
	case len(missing) > 0:
		q.Events.Warn(fmt.Sprintf("%s lists %s but does not hold it; left out", c.what, strings.Join(missing, ", ")))
	case len(images) == 0:
		return nil, fmt.Errorf("it lists no image: %w", pipeline.ErrNotFound)
	}
	return images, nil
}

// namesOf are the names, and the tag, of an entry of index.json.
func namesOf(desc ocispec.Descriptor, events pipeline.Events) (names []string, tag string) {
	name, tag := ocilayout.Names(desc)
	return validNames([]string{name}, events), tag
}
