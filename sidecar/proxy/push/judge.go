package push

import (
	"context"
	"fmt"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

// maxDepth bounds indexes within indexes, as pipeline.Resolve does.
const maxDepth = 8

// judge shows what is no layer of an image to the filters that judge, of a manifest and
// of those that it lists.
func (p *Push) judge(ctx context.Context, repository string, m registry.Manifest, rule *rules.Rule, depth int) error {
	judges, err := rule.Judges()
	if err != nil || len(judges) == 0 {
		return err
	}
	if depth > maxDepth {
		return fmt.Errorf("indexes nested deeper than %d: %w", maxDepth, pipeline.ErrLimit)
	}
	if err := rule.JudgeUnread(ctx, p.Backend().Blobs, repository, m, p.options(rule)); err != nil {
		return err
	}
	for _, e := range m.Entries {
		if !isManifest(e) {
			continue
		}
		_, raw, err := p.Backend().Manifests.Get(ctx, repository, registry.Ref{Digest: e.Digest})
		if registry.IsMissing(err) {
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
