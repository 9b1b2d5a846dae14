package push

import (
	"context"
	"encoding/json"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

// inToto is the type of what an attestation of BuildKit's has in place of layers.
const inToto = "application/vnd.in-toto+json"

// waits says whether a manifest is sent on with its index only: an attestation, which
// the index ties to its image, and which a policy then may leave out.
func waits(m registry.Manifest, tags []string, rule *rules.Rule) bool {
	if len(tags) > 0 || rule.Plain() || !pipeline.IsManifest(m.Desc.MediaType) || m.Subject != nil {
		return false
	}
	var fields struct {
		Config ocispec.Descriptor   `json:"config"`
		Layers []ocispec.Descriptor `json:"layers"`
	}
	if json.Unmarshal(m.Raw, &fields) != nil || len(fields.Layers) == 0 || fields.Config.MediaType != ocispec.MediaTypeImageConfig {
		return false
	}
	for _, l := range fields.Layers {
		if l.MediaType != inToto {
			return false
		}
	}
	return true
}

// followSubject points a manifest that speaks of an image which is kept under another
// digest at that one, so that it is found there.
func (p *Push) followSubject(ctx context.Context, repository string, m registry.Manifest) (registry.Manifest, error) {
	if m.Subject == nil {
		return m, nil
	}
	kept, ok := p.stored(ctx, repository, m.Subject.Digest)
	if !ok || kept.Digest == m.Subject.Digest {
		return m, nil
	}
	o, err := pipeline.ParseObject(m.Raw)
	if err != nil {
		return m, err
	}
	subject, err := pipeline.ParseObject(o.Get("subject"))
	if err != nil {
		return m, err
	}
	for _, f := range []struct {
		key string
		v   any
	}{{"mediaType", kept.MediaType}, {"digest", kept.Digest}, {"size", kept.Size}} {
		if err := subject.Set(f.key, f.v); err != nil {
			return m, err
		}
	}
	subject.Delete("data") // a copy of what came
	if err := o.Set("subject", subject); err != nil {
		return m, err
	}
	going, err := registry.ParseManifest(m.Desc.MediaType, o.Bytes(), m.Desc.Digest.Algorithm())
	if err != nil {
		return m, fmt.Errorf("point %s at %s: %w", m.Desc.Digest, kept.Digest, err)
	}
	return going, nil
}
