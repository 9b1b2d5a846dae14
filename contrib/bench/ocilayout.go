package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ociTypes are the names that the OCI has for what Docker's manifests list. Umoci
// takes no others.
var ociTypes = strings.NewReplacer(
	"application/vnd.docker.distribution.manifest.v2+json", ocispec.MediaTypeImageManifest,
	"application/vnd.docker.container.image.v1+json", ocispec.MediaTypeImageConfig,
	"application/vnd.docker.image.rootfs.diff.tar.gzip", ocispec.MediaTypeImageLayerGzip,
)

// ociLayout is the image as a layout with the OCI's media types, tagged latest:
// blobs are links to those that there are.
func (b *bench) ociLayout() (string, error) {
	dir := filepath.Join(b.dir, "oci")
	if _, err := os.Stat(filepath.Join(dir, "index.json")); !errors.Is(err, os.ErrNotExist) {
		return dir, err
	}
	i := b.checker.image
	blobs := filepath.Join(dir, "blobs", i.Desc.Digest.Algorithm().String())
	if err := os.MkdirAll(blobs, 0o750); err != nil {
		return "", err
	}
	for _, d := range i.blobs() {
		if err := os.Symlink((layout{b.layout}).path(d.Digest), filepath.Join(blobs, d.Digest.Encoded())); err != nil && !errors.Is(err, os.ErrExist) {
			return "", err
		}
	}
	manifest := []byte(ociTypes.Replace(string(i.Raw)))
	desc := ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(manifest), Size: int64(len(manifest)),
		Annotations: map[string]string{ocispec.AnnotationRefName: "latest"},
	}
	index, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{desc}})
	if err != nil {
		return "", err
	}
	for name, content := range map[string][]byte{
		filepath.Join(blobs, desc.Digest.Encoded()): manifest,
		filepath.Join(dir, ocispec.ImageLayoutFile): []byte(`{"imageLayoutVersion":"1.0.0"}`),
		filepath.Join(dir, "index.json"):            index,
	} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			return "", fmt.Errorf("write a layout for umoci: %w", err)
		}
	}
	return dir, nil
}
