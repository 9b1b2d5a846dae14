package proxy

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/meter"
)

// counted tells the meter of images that go straight into the store; of others push
// tells.
func counted(b registry.Backend, m *meter.Meter) registry.Backend {
	b.Manifests = countedManifests{b.Manifests, m}
	return b
}

type countedManifests struct {
	registry.Manifests
	meter *meter.Meter
}

func (c countedManifests) Put(ctx context.Context, repository string, m registry.Manifest, tags []string) error {
	began := time.Now()
	err := c.Manifests.Put(ctx, repository, m, tags)
	seen := map[digest.Digest]bool{}
	size := int64(len(m.Raw))
	for _, d := range m.Blobs {
		if !seen[d.Digest] {
			seen[d.Digest] = true
			size += d.Size
		}
	}
	d := m.Desc.Digest.String()
	//nolint:contextcheck // a line of the log outlives its request
	c.meter.Image(meter.Image{Repository: repository, Tags: tags, Received: d, Stored: d, Bytes: size, Duration: time.Since(began), Err: err})
	return err
}
