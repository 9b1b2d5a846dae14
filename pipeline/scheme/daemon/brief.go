package daemon

import (
	"context"
	"encoding/json"
	"iter"
	"time"

	"github.com/moby/moby/client"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// brief is the graph of an image of which only the config is wanted: what the
// daemon says of it, without an export.
type brief struct{ manifest pipeline.Manifest }

var _ pipeline.Graph = (*brief)(nil)

// newBrief makes a config of what inspect and history say.
func newBrief(ctx context.Context, cli client.APIClient, name string, found client.ImageInspectResult) (*brief, error) {
	config := map[string]any{
		"architecture": found.Architecture, "os": found.Os, "config": found.Config,
		"rootfs": map[string]any{"type": found.RootFS.Type, "diff_ids": found.RootFS.Layers},
	}
	if found.Variant != "" {
		config["variant"] = found.Variant
	}
	if _, err := time.Parse(time.RFC3339Nano, found.Created); err == nil {
		config["created"] = found.Created
	}
	if h := history(ctx, cli, name, len(found.RootFS.Layers)); h != nil {
		config["history"] = h
	}
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	m := pipeline.Manifest{Desc: ocispec.Descriptor{Digest: digest.Digest(found.ID)}, Config: raw, Root: true}
	if found.Descriptor != nil {
		m.Desc = *found.Descriptor
	}
	m.Desc.Platform = &ocispec.Platform{OS: found.Os, Architecture: found.Architecture, Variant: found.Variant}
	return &brief{m}, nil
}

// history is the history of an image with layers; nil where the daemon does not
// say which entries made them: one that made an empty layer has size 0 too.
func history(ctx context.Context, cli client.APIClient, name string, layers int) []ocispec.History {
	said, err := cli.ImageHistory(ctx, name)
	if err != nil {
		return nil
	}
	var out []ocispec.History
	made := 0
	for i := len(said.Items) - 1; i >= 0; i-- {
		s := said.Items[i]
		created := time.Unix(s.Created, 0).UTC()
		if s.Size > 0 {
			made++
		}
		out = append(out, ocispec.History{Created: &created, CreatedBy: s.CreatedBy, Comment: s.Comment, EmptyLayer: s.Size == 0})
	}
	if made != layers {
		return nil
	}
	return out
}

// Layers yields none.
func (*brief) Layers(context.Context) iter.Seq2[pipeline.Layer, error] {
	return func(func(pipeline.Layer, error) bool) {}
}

// Manifests yields the one with the config.
func (b *brief) Manifests(context.Context) iter.Seq2[pipeline.Manifest, error] {
	return func(yield func(pipeline.Manifest, error) bool) { yield(b.manifest, nil) }
}

// Close has nothing to close: the client is the graph's around it.
func (*brief) Close() error { return nil }
