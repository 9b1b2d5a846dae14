package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// writeImage writes an archive of one image as Docker's containerd store saves
// it: an OCI layout, and a manifest.json for older tools.
func writeImage(file, image, root string, parts [][]string, compressed bool) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(file), "layers-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	layers := make([]layer, len(parts))
	var g errgroup.Group
	for n, p := range parts {
		g.Go(func() (err error) {
			if layers[n], err = writeLayer(dir, root, p, compressed); err != nil {
				return fmt.Errorf("layer of %s: %w", p, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	a := &archive{tw: tar.NewWriter(f), name: image}
	a.image(layers)
	if a.err != nil {
		return a.err
	}
	return a.tw.Close()
}

// archive remembers the first error, so that what it writes reads as a list.
type archive struct {
	tw   *tar.Writer
	name string // the image's, with its tag
	err  error
}

func (a *archive) image(layers []layer) {
	config, manifest := ocispec.Image{}, ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	now := time.Now().UTC()
	config.OS, config.Architecture, config.Created = "linux", runtime.GOARCH, &now
	config.Config.Env = []string{"PATH=/" + inImage + "/bin", "HOME=/tmp", "GOTOOLCHAIN=local"}
	config.Config.Cmd = []string{"/" + inImage + "/bin/go", "version"}
	config.RootFS.Type = "layers"
	var paths []string
	for _, l := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.diffID)
		config.History = append(config.History, ocispec.History{Created: &now, CreatedBy: "contrib/demo"})
		manifest.Layers = append(manifest.Layers, ocispec.Descriptor{MediaType: l.mediaType, Digest: l.digest, Size: l.size})
		paths = append(paths, blobPath(l.digest))
		a.blob(l)
	}
	manifest.Config = a.document(ocispec.MediaTypeImageConfig, config)
	root := a.document(ocispec.MediaTypeImageManifest, manifest)
	_, tag, _ := strings.Cut(a.name, ":")
	root.Annotations = map[string]string{ocispec.AnnotationRefName: tag, "io.containerd.image.name": "docker.io/library/" + a.name}
	a.json("index.json", ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{root}})
	a.json("manifest.json", []any{map[string]any{
		"Config": blobPath(manifest.Config.Digest), "RepoTags": []string{a.name}, "Layers": paths,
	}})
	a.json(ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
}

func blobPath(d digest.Digest) string { return "blobs/sha256/" + d.Encoded() }

func (a *archive) blob(l layer) {
	if a.err != nil {
		return
	}
	f, err := os.Open(l.file)
	if err != nil {
		a.err = err
		return
	}
	defer f.Close()
	a.file(blobPath(l.digest), l.size, f)
}

// document writes JSON as a blob and describes it.
func (a *archive) document(mediaType string, v any) ocispec.Descriptor {
	raw, err := json.Marshal(v)
	if err != nil {
		a.err = err
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	a.file(blobPath(d.Digest), d.Size, bytes.NewReader(raw))
	return d
}

func (a *archive) json(name string, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		a.err = err
	}
	a.file(name, int64(len(raw)), bytes.NewReader(raw))
}

func (a *archive) file(name string, size int64, r io.Reader) {
	const mode = 0o644
	if a.err != nil {
		return
	}
	if a.err = a.tw.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: size}); a.err == nil {
		_, a.err = io.Copy(a.tw, r)
	}
}
