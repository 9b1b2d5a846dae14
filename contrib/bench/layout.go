package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A store is a place that an image can be read from, to be checked.
type store interface {
	// root describes the image's manifest.
	root(ctx context.Context) (ocispec.Descriptor, error)
	// open returns the bytes of a blob or manifest, unverified.
	open(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error)
}

// A layout is an OCI image layout in a folder.
type layout struct{ dir string }

var _ store = layout{}

func (l layout) root(context.Context) (ocispec.Descriptor, error) {
	raw, err := os.ReadFile(filepath.Join(l.dir, "index.json"))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return imageOf(raw, func(d ocispec.Descriptor) ([]byte, error) { return os.ReadFile(l.path(d.Digest)) })
}

func (l layout) open(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	return os.Open(l.path(d.Digest))
}

func (l layout) path(d digest.Digest) string {
	return filepath.Join(l.dir, "blobs", d.Algorithm().String(), d.Encoded())
}

// imageOf is the first image of an index, or of an index in it. Attestations
// come after it.
func imageOf(raw []byte, read func(ocispec.Descriptor) ([]byte, error)) (ocispec.Descriptor, error) {
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("read an index: %w", err)
	}
	if len(index.Manifests) == 0 {
		return ocispec.Descriptor{}, fmt.Errorf("an index lists no image")
	}
	first := index.Manifests[0]
	if !isIndex(first.MediaType) {
		return first, nil
	}
	raw, err := read(first)
	if err != nil {
		return first, err
	}
	return imageOf(raw, read)
}

func isIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || strings.HasSuffix(mediaType, ".manifest.list.v2+json")
}

// An image is what a manifest says.
type image struct {
	Desc   ocispec.Descriptor // of the manifest
	Raw    []byte             // the manifest
	Config ocispec.Descriptor
	Layers []ocispec.Descriptor
}

// readImage reads the manifest of a store and verifies its digest.
func readImage(ctx context.Context, s store) (image, error) {
	d, err := s.root(ctx)
	if err != nil {
		return image{}, err
	}
	raw, err := readBlob(ctx, s, d)
	if err != nil {
		return image{}, err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return image{}, fmt.Errorf("read manifest %s: %w", d.Digest, err)
	}
	if d.MediaType == "" {
		d.MediaType = m.MediaType
	}
	return image{Desc: d, Raw: raw, Config: m.Config, Layers: m.Layers}, nil
}

// readBlob reads a small blob whole and verifies it.
func readBlob(ctx context.Context, s store, d ocispec.Descriptor) ([]byte, error) {
	const limit = 32 << 20 // manifests and configs only
	r, err := s.open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	raw, err := io.ReadAll(io.LimitReader(r, limit))
	if err != nil {
		return nil, err
	}
	if got := d.Digest.Algorithm().FromBytes(raw); got != d.Digest {
		return nil, fmt.Errorf("blob %s has the digest %s", d.Digest, got)
	}
	return raw, nil
}

// blobs are the config and the layers, each once.
func (i image) blobs() []ocispec.Descriptor {
	var out []ocispec.Descriptor
	for _, d := range append([]ocispec.Descriptor{i.Config}, i.Layers...) {
		if !slices.ContainsFunc(out, func(o ocispec.Descriptor) bool { return o.Digest == d.Digest }) {
			out = append(out, d)
		}
	}
	return out
}

// size is that of all layers as they are stored.
func (i image) size() int64 {
	var sum int64
	for _, l := range i.Layers {
		sum += l.Size
	}
	return sum
}

// manifestTypes are the manifests of single images.
var manifestTypes = []string{ocispec.MediaTypeImageManifest, "application/vnd.docker.distribution.manifest.v2+json"}

func isManifest(mediaType string) bool { return slices.Contains(manifestTypes, mediaType) }
