package push

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

// maxDepth bounds indexes within indexes, as pipeline.Resolve does.
const maxDepth = 8

// judge shows what is no layer of an image to the filters that judge: an artifact's
// blobs, and those that an index lists. A run leaves them alone, and they may hold a tar
// all the same, whatever type they are said to have.
func (p *Push) judge(ctx context.Context, repository string, m registry.Manifest, rule *rules.Rule, depth int) error {
	judges, err := rule.Judges()
	if err != nil || len(judges) == 0 {
		return err
	}
	if depth > maxDepth {
		return fmt.Errorf("indexes nested deeper than %d: %w", maxDepth, pipeline.ErrLimit)
	}
	for _, d := range unread(m) {
		if err := p.judgeBlob(ctx, repository, d.Digest, rule); err != nil {
			return err
		}
	}
	for _, e := range m.Entries {
		if !isManifest(e) {
			continue
		}
		_, raw, err := p.Backend().Manifests.Get(ctx, repository, registry.Ref{Digest: e.Digest})
		if IsMissing(err) {
			continue
		}
		if err != nil {
			return err
		}
		child, err := registry.ParseManifest(e.MediaType, raw, e.Digest.Algorithm())
		if err != nil {
			return &pipeline.Error{Side: pipeline.SourceSide, Err: fmt.Errorf("manifest %s: %w", e.Digest, err)}
		}
		if err := p.judge(ctx, repository, child, rule, depth+1); err != nil {
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
		if !isManifest(e) {
			blobs = append(blobs, e)
		}
	}
	return blobs
}

// judgeBlob shows one blob to the judges, if it is a tar.
func (p *Push) judgeBlob(ctx context.Context, repository string, d digest.Digest, rule *rules.Rule) error {
	size, err := p.Backend().Blobs.Stat(ctx, repository, d)
	if IsMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	judges, err := rule.Judges()
	if err != nil {
		return err
	}
	blob := ocispec.Descriptor{Digest: d, Size: size}
	l := pipeline.Layer{Blob: blob, Open: func(ctx context.Context) (io.ReadCloser, error) {
		rc, err := p.Backend().Blobs.Open(ctx, repository, d, 0)
		if err != nil {
			return nil, err
		}
		return pipeline.Verified(rc, blob), nil
	}}
	opts := p.options(rule)
	opts.Cache = newMemory()
	_, err = pipeline.Early(ctx, l, judges, nowhere{}, opts)
	if rules.Denied(err) != nil || ctx.Err() != nil {
		return err
	}
	return nil // it is no tar, or nothing is wrong with it
}

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
