package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// An arrival is what a root becomes in a daemon.
type arrival struct {
	id     digest.Digest // by which the daemon knows it
	names  []string      // full names to give
	root   digest.Digest // of its manifest
	images []carried     // what the root reaches and runs
	others []carried     // attestations and artifacts that it reaches
	had    bool          // it was in the daemon before
}

// A carried manifest is one that a root reaches.
type carried struct {
	manifest pipeline.Manifest
	config   digest.Digest
	platform ocispec.Platform
	diffIDs  []digest.Digest
	layers   []digest.Digest // as they are stored
	runs     bool            // an image with a file system, not an attestation or artifact
}

// read looks into an image manifest.
func read(m pipeline.Manifest) (carried, error) {
	c := carried{manifest: m}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(m.Raw, &manifest); err != nil {
		return c, fmt.Errorf("read manifest %s: %w", m.Desc.Digest, err)
	}
	c.config = manifest.Config.Digest
	for _, l := range manifest.Layers {
		c.layers = append(c.layers, l.Digest)
	}
	// An attestation has an image's config, though no platform (buildkit,
	// docs/attestations/attestation-storage.md).
	attestation := m.Desc.Annotations["vnd.docker.reference.type"] != ""
	switch manifest.Config.MediaType {
	case ocispec.MediaTypeImageConfig, pipeline.MediaTypeDockerConfig:
		c.runs = !attestation
	}
	if !c.runs {
		return c, nil
	}
	var config ocispec.Image
	if err := json.Unmarshal(m.Config, &config); err != nil {
		return c, fmt.Errorf("read config %s: %w", c.config, err)
	}
	c.platform, c.diffIDs = config.Platform, config.RootFS.DiffIDs
	return c, nil
}

// has says whether an image is in the daemon already, or may be: what was there
// before is not removed.
func (e *engine) has(ctx context.Context, id digest.Digest) bool {
	_, err := e.cli.ImageInspect(ctx, id.String())
	return !errdefs.IsNotFound(err)
}

// check compares what the daemon has made of a root with what was sent: a
// daemon that reports success may hold less.
func (e *engine) check(ctx context.Context, a *arrival) error {
	detailed := e.indexes && knows(e.cli, apiManifests)
	found, err := e.cli.ImageInspect(ctx, a.id.String(), client.ImageInspectWithManifests(detailed))
	if err != nil {
		return explain(ctx, e.cli, fmt.Sprintf("look for the loaded image %s", a.id), err)
	}
	if have := digest.Digest(found.ID); have != a.id {
		return pipeline.DigestError("image in the daemon at "+e.cli.DaemonHost(), a.id, have)
	}
	runs := func(c carried) bool {
		return slices.EqualFunc(c.diffIDs, found.RootFS.Layers, func(d digest.Digest, s string) bool { return d.String() == s })
	}
	if len(a.images) > 0 && !slices.ContainsFunc(a.images, runs) {
		return fmt.Errorf("image %s in the daemon at %s has the layers %s: %w", a.id, e.cli.DaemonHost(), strings.Join(found.RootFS.Layers, ", "), pipeline.ErrDigest)
	}
	if !detailed {
		return nil
	}
	available := map[digest.Digest]bool{}
	for _, m := range found.Manifests {
		available[m.Descriptor.Digest] = m.Available
	}
	for _, c := range a.images {
		if !available[c.manifest.Desc.Digest] {
			return fmt.Errorf("image %s in the daemon at %s lacks content: %w", c.manifest.Desc.Digest, e.cli.DaemonHost(), pipeline.ErrNotFound)
		}
	}
	return nil
}

// name tags an arrival. What had the name before loses it, as with a load.
func (e *engine) name(ctx context.Context, a *arrival) error {
	for _, n := range a.names {
		if _, err := e.cli.ImageTag(ctx, client.ImageTagOptions{Source: a.id.String(), Target: n}); err != nil {
			return explain(ctx, e.cli, fmt.Sprintf("name image %s %s", a.id, n), err)
		}
	}
	return nil
}

// discardTimeout bounds the clean-up of a run that was aborted.
const discardTimeout = 10 * time.Second

// discard removes arrivals that were not there before and got no name; the
// store of containerd may hold them without all of their content.
func (e *engine) discard(as []*arrival) error {
	ctx, cancel := context.WithTimeout(context.Background(), discardTimeout)
	defer cancel()
	var errs []error
	for _, a := range as {
		found, err := e.cli.ImageInspect(ctx, a.id.String())
		if err != nil || a.had || len(found.RepoTags) > 0 {
			continue
		}
		if _, err := e.cli.ImageRemove(ctx, a.id.String(), client.ImageRemoveOptions{PruneChildren: true}); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, explain(ctx, e.cli, fmt.Sprintf("remove image %s, which was not published", a.id), err))
		}
	}
	return errors.Join(errs...)
}
