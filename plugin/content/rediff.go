package content

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/containerd/v2/pkg/rootfs"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// remade is the content of a namespace with an image whose layers, as far as they
// were discarded, were made anew of their snapshots.
type remade struct {
	*content
	made map[digest.Digest][]byte // its manifest and config
}

// Fetch returns a whole blob, within the limit of a manifest.
func (r *remade) Fetch(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	if raw, ok := r.made[desc.Digest]; ok {
		return raw, nil
	}
	return r.content.Fetch(ctx, desc)
}

// Holds says whether a blob is there.
func (r *remade) Holds(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	if _, ok := r.made[desc.Digest]; ok {
		return true, nil
	}
	return r.content.Holds(ctx, desc)
}

// rediff makes those layers of an image anew that containerd has only as snapshots.
// The image gets another digest by that; one that lacks nothing stays as it is. Of
// an index it is the image for this machine, or for the platform that is wanted.
func (c *content) rediff(ctx context.Context, root pipeline.Root, snapshotter string, q pipeline.Query) (pipeline.Content, pipeline.Root, error) {
	sn, err := c.snapshotter(ctx, snapshotter)
	if err != nil {
		return nil, root, err
	}
	machine := sn.machine
	if len(q.Platforms.Want) > 0 {
		machine = q.Platforms.Matcher()
	}
	desc, err := c.imageOf(ctx, root.Desc, machine)
	if err != nil {
		return nil, root, err
	}
	e, err := c.edit(ctx, sn, desc)
	if err != nil {
		return nil, root, err
	}
	if err := e.layers(ctx, q.Events); err != nil {
		return nil, root, err
	}
	if !e.changed {
		return c, root, nil
	}
	made, desc, err := e.result()
	if err != nil {
		return nil, root, err
	}
	q.Events.Warn(fmt.Sprintf("%s: layers were rebuilt from snapshots: its image is now %s, and what signs or attests %s does not speak of it", root.Desc.Digest, desc.Digest, root.Desc.Digest))
	root.Desc = desc
	return &remade{c, made}, root, nil
}

// imageOf is the manifest that a root stands for on a machine.
func (c *content) imageOf(ctx context.Context, root ocispec.Descriptor, machine platforms.MatchComparer) (ocispec.Descriptor, error) {
	if !pipeline.IsIndex(root.MediaType) {
		return root, nil
	}
	raw, err := c.Fetch(ctx, root)
	if err != nil {
		return root, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return root, fmt.Errorf("read index %s: %w", root.Digest, err)
	}
	var best *ocispec.Descriptor
	for _, d := range index.Manifests {
		if d.Platform == nil || !machine.Match(*d.Platform) {
			continue
		}
		if _, err := c.blobs().Info(c.in(ctx), d.Digest); err == nil && (best == nil || machine.Less(*d.Platform, *best.Platform)) {
			best = &d
		}
	}
	if best == nil {
		return root, fmt.Errorf("index %s has no image that is here for the platform whose snapshots could be used: %w", root.Digest, pipeline.ErrNotFound)
	}
	return *best, nil
}

// An edition is an image that gets other layers.
type edition struct {
	*content
	at       *snapshotter
	desc     ocispec.Descriptor
	raw      []byte
	config   []byte
	manifest ocispec.Manifest
	diffIDs  []digest.Digest
	changed  bool // the layers' digests
	differs  bool // their content
}

func (c *content) edit(ctx context.Context, sn *snapshotter, desc ocispec.Descriptor) (e *edition, err error) {
	e = &edition{content: c, at: sn, desc: desc}
	if e.raw, err = c.Fetch(ctx, desc); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(e.raw, &e.manifest); err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", desc.Digest, err)
	}
	if e.config, err = c.Fetch(ctx, e.manifest.Config); err != nil {
		return nil, err
	}
	var config ocispec.Image
	if err := json.Unmarshal(e.config, &config); err != nil {
		return nil, fmt.Errorf("read config %s: %w", e.manifest.Config.Digest, err)
	}
	if e.diffIDs = config.RootFS.DiffIDs; len(e.diffIDs) != len(e.manifest.Layers) {
		return nil, fmt.Errorf("config %s has %d diff IDs for %d layers", e.manifest.Config.Digest, len(e.diffIDs), len(e.manifest.Layers))
	}
	return e, nil
}

// layers makes those that are not there.
func (e *edition) layers(ctx context.Context, events pipeline.Events) error {
	chains := identity.ChainIDs(slices.Clone(e.diffIDs))
	for n, l := range e.manifest.Layers {
		if _, err := e.blobs().Info(e.in(ctx), l.Digest); err == nil || len(l.URLs) > 0 {
			continue
		} else if !errdefs.IsNotFound(err) {
			return e.explain(ctx, "look for "+l.Digest.String(), err)
		}
		there, err := e.at.has(ctx, chains[n])
		if err != nil {
			return err
		}
		if !there {
			return fmt.Errorf("rebuild layer %s: neither its blob nor its snapshot in %s is here: %w (--missing=fetch fetches it from its registry)", l.Digest, e.at.name, pipeline.ErrNotFound)
		}
		made, diffID, err := e.remake(ctx, chains[n])
		if err != nil {
			return e.explain(ctx, "rebuild layer "+l.Digest.String()+" from its snapshot", err)
		}
		says := "what it unpacks to is the same"
		if diffID != e.diffIDs[n] {
			says, e.differs = fmt.Sprintf("its tar is written otherwise, so its diff ID was %s and is %s", e.diffIDs[n], diffID), true
		}
		events.Warn(fmt.Sprintf("layer %s was rebuilt from its snapshot: it is %s now, and %s", l.Digest, made.Digest, says))
		l.Digest, l.Size, l.MediaType = made.Digest, made.Size, gzipped(l.MediaType)
		e.manifest.Layers[n], e.diffIDs[n], e.changed = l, diffID, true
	}
	return nil
}

// gzipped is the media type of a compressed layer in an image that has others of
// that kind.
func gzipped(like string) string {
	if images.IsDockerType(like) {
		return images.MediaTypeDockerSchema2LayerGzip
	}
	return ocispec.MediaTypeImageLayerGzip
}

// remake lets containerd compare a snapshot with the one below.
func (e *edition) remake(ctx context.Context, chain digest.Digest) (ocispec.Descriptor, digest.Digest, error) {
	in := e.in(ctx)
	made, err := rootfs.CreateDiff(in, chain.String(), e.at, e.cli.DiffService(), diff.WithMediaType(ocispec.MediaTypeImageLayerGzip))
	if err != nil {
		return made, "", err
	}
	if err := e.protect(ctx, made.Digest); err != nil {
		return made, "", err
	}
	info, err := e.blobs().Info(in, made.Digest)
	if err != nil {
		return made, "", err
	}
	diffID := digest.Digest(info.Labels[labels.LabelUncompressed])
	if err := diffID.Validate(); err != nil {
		return made, "", fmt.Errorf("containerd does not say what %s unpacks to: %w", made.Digest, err)
	}
	return made, diffID, nil
}

// result is the new manifest, and config if that had to change; all else in them
// stays.
func (e *edition) result() (map[digest.Digest][]byte, ocispec.Descriptor, error) {
	made := map[digest.Digest][]byte{}
	if e.differs {
		raw, err := pipeline.EditJSON(e.config, func(o *pipeline.Object) error {
			fs, err := pipeline.EditJSON(o.Get("rootfs"), func(fs *pipeline.Object) error { return fs.Set("diff_ids", e.diffIDs) })
			if err != nil {
				return err
			}
			return o.Set("rootfs", json.RawMessage(fs))
		})
		if err != nil {
			return nil, e.desc, fmt.Errorf("rewrite config %s: %w", e.manifest.Config.Digest, err)
		}
		e.manifest.Config.Digest, e.manifest.Config.Size = digest.FromBytes(raw), int64(len(raw))
		made[e.manifest.Config.Digest] = raw
	}
	raw, err := pipeline.EditJSON(e.raw, func(o *pipeline.Object) error {
		if err := o.Set("config", e.manifest.Config); err != nil {
			return err
		}
		return o.Set("layers", e.manifest.Layers)
	})
	if err != nil {
		return nil, e.desc, fmt.Errorf("rewrite manifest %s: %w", e.desc.Digest, err)
	}
	desc := ocispec.Descriptor{MediaType: e.desc.MediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw)), Platform: e.desc.Platform}
	made[desc.Digest] = raw
	return made, desc, nil
}
