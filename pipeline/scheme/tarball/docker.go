package tarball

import (
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/imagename"
)

// writeDocker writes what follows the layers of a plain docker-save archive:
// configs, and manifest.json last. All of it is checked first.
func (s *sink) writeDocker() error {
	order, byDigest, err := s.parseAll()
	if err != nil {
		return err
	}
	saved := []savedImage{}
	for _, m := range order {
		if !m.Root {
			continue
		}
		image, err := s.dockerImage(m, byDigest)
		if err != nil {
			return err
		}
		entry := savedImage{Config: image.config.Digest.Encoded() + ".json", Layers: []string{}}
		for _, n := range s.names(m.Manifest) {
			entry.RepoTags = append(entry.RepoTags, imagename.Familiar(n))
		}
		for _, l := range image.layers {
			entry.Layers = append(entry.Layers, s.layerName(l.Digest))
		}
		if err := s.queue.append(entry.Config, image.Config); err != nil {
			return err
		}
		saved = append(saved, entry)
	}
	return s.appendJSON(savedMember, saved)
}

// dockerImage is the one image that a root stands for, complete and plain.
func (s *sink) dockerImage(m parsed, byDigest map[digest.Digest]parsed) (image parsed, err error) {
	image = m
	if pipeline.IsIndex(m.Desc.MediaType) {
		var images []parsed
		for _, c := range m.manifests {
			if child, ok := byDigest[c.Digest]; ok {
				images = append(images, child)
			}
		}
		if len(images) != 1 {
			return image, errNotDocker(fmt.Sprintf("an index of %d images", len(images)))
		}
		image = images[0]
	}
	if image.Config == nil || !image.runnable() {
		return image, errNotDocker("attestations, artifacts and nested indexes")
	}
	var config struct {
		RootFS struct {
			DiffIDs []digest.Digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(image.Config, &config); err != nil {
		return image, fmt.Errorf("config %s: %w", image.config.Digest, err)
	}
	if len(config.RootFS.DiffIDs) != len(image.layers) {
		return image, fmt.Errorf("config %s has %d diff IDs for %d layers", image.config.Digest, len(config.RootFS.DiffIDs), len(image.layers))
	}
	for i, l := range image.layers {
		switch {
		case !s.committed[l.Digest]:
			return image, errNotDocker(fmt.Sprintf("layer %s, whose content is elsewhere (--foreign=fetch brings it along)", l.Digest))
		case config.RootFS.DiffIDs[i] != l.Digest:
			return image, errNotDocker(fmt.Sprintf("layer %s, which is compressed", l.Digest))
		}
	}
	return image, nil
}
