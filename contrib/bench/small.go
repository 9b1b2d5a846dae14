package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The small image of -quick.
const (
	smallLayers   = 3
	smallFiles    = 40       // of each layer
	smallFileSize = 64 << 10 // bytes
)

// A smallImage writes the image of -quick: it needs neither root nor a daemon, and
// is the same everywhere. Its figures mean nothing.
type smallImage struct {
	dir    string
	random *rand.Rand
}

// writeSmall returns the image's OCI layout; an archive of it is one of "docker
// save" too.
func writeSmall(dir string) (layout, error) {
	l := layout{dir: dir}
	if err := os.MkdirAll(filepath.Dir(l.path(digest.FromString(""))), 0o750); err != nil {
		return l, err
	}
	s := smallImage{dir: dir, random: rand.New(rand.NewPCG(1, 2))} //nolint:gosec // the same bytes every time
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}, RootFS: ocispec.RootFS{Type: "layers"}}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for n := range smallLayers {
		plain, err := s.layer(n)
		if err != nil {
			return l, err
		}
		packed, err := pack(plain)
		if err != nil {
			return l, err
		}
		d, err := s.blob(ocispec.MediaTypeImageLayerGzip, packed)
		if err != nil {
			return l, err
		}
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(plain))
		m.Layers = append(m.Layers, d)
	}
	var err error
	if m.Config, err = s.document(ocispec.MediaTypeImageConfig, config); err != nil {
		return l, err
	}
	root, err := s.document(m.MediaType, m)
	if err != nil {
		return l, err
	}
	return l, s.names(m, root, imageName)
}

// layer is a tar of files that compress about as well as programs do.
func (s smallImage) layer(n int) ([]byte, error) {
	var out bytes.Buffer
	tw := tar.NewWriter(&out)
	for k := range smallFiles {
		data := make([]byte, smallFileSize)
		for i := range data {
			data[i] = byte(s.random.IntN(16)) // four bits of eight
		}
		h := &tar.Header{Name: fmt.Sprintf("layer%d/file%d", n, k), Mode: 0o644, Size: smallFileSize, ModTime: time.Unix(int64(1e9+k), 0)}
		if err := tw.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := tw.Write(data); err != nil {
			return nil, err
		}
	}
	err := tw.Close() // it writes the end
	return out.Bytes(), err
}

func pack(plain []byte) ([]byte, error) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(plain); err != nil {
		return nil, err
	}
	err := z.Close()
	return out.Bytes(), err
}

func (s smallImage) document(mediaType string, v any) (ocispec.Descriptor, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return s.blob(mediaType, raw)
}

func (s smallImage) blob(mediaType string, raw []byte) (ocispec.Descriptor, error) {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	return d, os.WriteFile(layout{dir: s.dir}.path(d.Digest), raw, 0o600)
}

// names writes what says where in the layout the image is.
func (s smallImage) names(m ocispec.Manifest, root ocispec.Descriptor, name string) error {
	path := func(d ocispec.Descriptor) string { return "blobs/sha256/" + d.Digest.Encoded() }
	root.Annotations = map[string]string{"io.containerd.image.name": "docker.io/library/" + name, ocispec.AnnotationRefName: "latest"}
	for file, v := range map[string]any{
		"oci-layout": ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion},
		"index.json": ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []ocispec.Descriptor{root}},
		"manifest.json": []map[string]any{{
			"Config": path(m.Config), "RepoTags": []string{name}, "Layers": each(m.Layers, path),
		}},
	} {
		raw, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(s.dir, file), raw, 0o600); err != nil {
			return err
		}
	}
	return nil
}
