package store_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// newID is the name of an upload that no other has.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// upload pushes a blob.
func upload(ctx context.Context, b registry.Backend, repository string, content []byte) (d digest.Digest, err error) {
	up, err := b.Uploads.Begin(ctx, repository, newID())
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, up.Close()) }()
	if _, err := io.Copy(up, bytes.NewReader(content)); err != nil {
		return "", err
	}
	d = digest.FromBytes(content)
	return d, up.Commit(ctx, d)
}

// push pushes an image whose config is the name and that has these layers.
func push(ctx context.Context, b registry.Backend, repository, name string, subject *ocispec.Descriptor, tags []string, layers ...[]byte) (ocispec.Descriptor, error) {
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Subject: subject}
	add := func(mediaType string, content []byte) (ocispec.Descriptor, error) {
		d, err := upload(ctx, b, repository, content)
		return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(content))}, err
	}
	var err error
	if m.Config, err = add(ocispec.MediaTypeImageConfig, []byte(`{"name":"`+name+`"}`)); err != nil {
		return ocispec.Descriptor{}, err
	}
	for _, l := range layers {
		d, err := add(ocispec.MediaTypeImageLayer, l)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		m.Layers = append(m.Layers, d)
	}
	return putJSON(ctx, b, repository, ocispec.MediaTypeImageManifest, m, tags)
}

// pushIndex puts an index of manifests that are there.
func pushIndex(ctx context.Context, b registry.Backend, repository string, tags []string, entries ...ocispec.Descriptor) (ocispec.Descriptor, error) {
	return putJSON(ctx, b, repository, ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: entries,
	}, tags)
}

func putJSON(ctx context.Context, b registry.Backend, repository, mediaType string, doc any, tags []string) (ocispec.Descriptor, error) {
	raw, err := json.Marshal(doc)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	m, err := registry.ParseManifest(mediaType, raw, digest.SHA256)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: m.Desc.Digest, Size: m.Desc.Size}, b.Manifests.Put(ctx, repository, m, tags)
}

// must ends the test on an error.
func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// whole reads an image by a reference, with all that it names.
func whole(ctx context.Context, b registry.Backend, repository string, ref registry.Ref) error {
	desc, raw, err := b.Manifests.Get(ctx, repository, ref)
	if err != nil {
		return fmt.Errorf("%s:%s: %w", repository, ref, err)
	}
	m, err := registry.ParseManifest(desc.MediaType, raw, desc.Digest.Algorithm())
	if err != nil || m.Desc.Digest != desc.Digest {
		return fmt.Errorf("%s:%s has other bytes: %w", repository, ref, err)
	}
	for _, d := range m.Blobs {
		if err := reads(ctx, b, repository, d.Digest); err != nil {
			return fmt.Errorf("%s:%s: %w", repository, ref, err)
		}
	}
	for _, d := range m.Entries {
		if err := whole(ctx, b, repository, registry.Ref{Digest: d.Digest}); err != nil {
			return err
		}
	}
	return nil
}

// reads reads a blob and compares it with its digest.
func reads(ctx context.Context, b registry.Backend, repository string, d digest.Digest) error {
	rc, err := b.Blobs.Open(ctx, repository, d, 0)
	if err != nil {
		return err
	}
	defer rc.Close()
	got, err := d.Algorithm().FromReader(rc)
	if err == nil && got != d {
		err = fmt.Errorf("blob %s has the bytes of %s", d, got)
	}
	return err
}

// has says whether a repository has an image.
func has(t *testing.T, b registry.Backend, repository, tag string) bool {
	t.Helper()
	err := whole(t.Context(), b, repository, registry.Ref{Tag: tag})
	if err != nil && !errors.Is(err, pipeline.ErrNotFound) {
		t.Error(err)
	}
	return err == nil
}
