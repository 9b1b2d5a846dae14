package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// mostName is the image without its last layer, which is small.
const mostName = "occystrap-bench-most:latest"

// writeMost writes an archive of the image without its last layer: who has loaded
// it lacks only that.
func writeMost(ctx context.Context, from layout, i image, work string) (string, error) {
	dir := filepath.Join(work, "most")
	l := layout{dir: dir}
	if err := os.MkdirAll(filepath.Dir(l.path(digest.FromString(""))), 0o750); err != nil {
		return "", err
	}
	raw, err := readBlob(ctx, from, i.Config)
	if err != nil {
		return "", err
	}
	var config ocispec.Image
	if err := json.Unmarshal(raw, &config); err != nil {
		return "", err
	}
	config.History, config.RootFS.DiffIDs = nil, config.RootFS.DiffIDs[:len(config.RootFS.DiffIDs)-1]
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Layers: i.Layers[:len(i.Layers)-1]}
	for _, d := range m.Layers {
		if err := os.Link(from.path(d.Digest), l.path(d.Digest)); err != nil && !os.IsExist(err) {
			return "", err
		}
	}
	s := smallImage{dir: dir}
	if m.Config, err = s.document(ocispec.MediaTypeImageConfig, config); err != nil {
		return "", err
	}
	root, err := s.document(m.MediaType, m)
	if err != nil {
		return "", err
	}
	if err := s.names(m, root, mostName); err != nil {
		return "", err
	}
	archive := filepath.Join(work, "most.tar")
	_, err = output(ctx, "tar", "-cf", archive, "-C", dir, ".")
	return archive, err
}
