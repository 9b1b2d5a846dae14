package rules

import (
	"context"
	"encoding/json"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// JudgeUnread shows what is no layer of an image to the filters that judge: an
// artifact's blobs, and those that an index lists. A run leaves them alone, and they may
// hold a tar all the same, whatever type they are said to have. The error is that of the
// filter which refuses one, or of reading. What is not there, or is no tar, passes. Opts
// are those of the run.
func (r *Rule) JudgeUnread(ctx context.Context, b registry.Blobs, repository string, m registry.Manifest, opts pipeline.Options) error {
	if judges, err := r.Judges(); err != nil || len(judges) == 0 {
		return err
	}
	for _, d := range unread(m) {
		if err := r.judgeBlob(ctx, b, repository, d.Digest, opts); err != nil {
			return err
		}
	}
	return nil
}

// unread are the blobs of a manifest that no run shows to filters, as far as their types
// tell, and perhaps some that it does.
func unread(m registry.Manifest) (blobs []ocispec.Descriptor) {
	var fields struct {
		Config ocispec.Descriptor `json:"config"`
	}
	_ = json.Unmarshal(m.Raw, &fields) // it was parsed before
	image := fields.Config.MediaType == ocispec.MediaTypeImageConfig || fields.Config.MediaType == pipeline.MediaTypeDockerConfig
	for i, d := range m.Blobs {
		config, layer := i == 0, image && pipeline.LayerCompression(d.MediaType) != ""
		if !config && !layer && len(d.URLs) == 0 {
			blobs = append(blobs, d)
		}
	}
	for _, e := range m.Entries {
		if !pipeline.IsManifest(e.MediaType) && !pipeline.IsIndex(e.MediaType) {
			blobs = append(blobs, e)
		}
	}
	return blobs
}

// judgeBlob shows one blob to the judges, if it is a tar.
func (r *Rule) judgeBlob(ctx context.Context, b registry.Blobs, repository string, d digest.Digest, opts pipeline.Options) error {
	judges, err := r.Judges() // each sees one blob
	if err != nil {
		return err
	}
	size, err := b.Stat(ctx, repository, d)
	if registry.IsMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	blob := ocispec.Descriptor{Digest: d, Size: size}
	l := pipeline.Layer{Blob: blob, Open: func(ctx context.Context) (io.ReadCloser, error) {
		rc, err := b.Open(ctx, repository, d, 0)
		if err != nil {
			return nil, err
		}
		return pipeline.Verified(rc, blob), nil
	}}
	opts.Cache = forgetful{}
	_, err = pipeline.Early(ctx, l, judges, nowhere{}, opts)
	if Denied(err) != nil || ctx.Err() != nil {
		return err
	}
	return nil // it is no tar, or nothing is wrong with it
}

// forgetful is a cache that knows nothing, as who judges has to look.
type forgetful struct{}

func (forgetful) Lookup(pipeline.CacheKey) (l pipeline.CachedLayer, ok bool) { return l, false }
func (forgetful) Record(pipeline.CacheKey, pipeline.CachedLayer)             {}

// nowhere is a sink that keeps nothing.
type nowhere struct{}

var _ pipeline.Sink = nowhere{}

func (nowhere) Plan(context.Context, pipeline.Layer) (pipeline.Plan, error) {
	return pipeline.Plan{Held: true}, nil
}

func (nowhere) Layer(context.Context, int, pipeline.Layer) (pipeline.LayerWriter, error) {
	return discard{}, nil
}

func (nowhere) Commit(context.Context, pipeline.Manifest) error { return nil }
func (nowhere) Publish(context.Context) error                   { return nil }
func (nowhere) Close() error                                    { return nil }

type discard struct{}

func (discard) Write(b []byte) (int, error)                                     { return len(b), nil }
func (discard) Commit(context.Context, ocispec.Descriptor, digest.Digest) error { return nil }
func (discard) Close() error                                                    { return nil }
