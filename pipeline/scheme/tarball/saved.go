package tarball

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/codec"
	"github.com/occystrap/occystrap/pipeline/internal/imagename"
)

// A savedImage is one entry of manifest.json (moby, image/spec/v1.2.md).
type savedImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// saved reads manifest.json; nil when there is none.
func (a *archive) saved(ctx context.Context) ([]savedImage, error) {
	if a.members[savedMember] == nil {
		return nil, nil
	}
	m, err := a.lookup(savedMember)
	if err != nil {
		return nil, err
	}
	raw, err := a.read(ctx, m)
	if err != nil {
		return nil, err
	}
	var images []savedImage
	if err := json.Unmarshal(raw, &images); err != nil {
		return nil, fmt.Errorf("%s: %w; save the image again", savedMember, err)
	}
	return images, a.checkCount(len(images))
}

// savedRoots makes an OCI manifest for each image of manifest.json: an archive
// without index.json has none. The config's bytes stay.
func (a *archive) savedRoots(ctx context.Context, images []savedImage, q pipeline.Query) ([]root, error) {
	var roots []root
	at := map[digest.Digest]int{}
	for i, s := range images {
		r, err := a.savedRoot(ctx, s, q)
		if err != nil {
			return nil, fmt.Errorf("image %d of %s: %w", i+1, savedMember, err)
		}
		r.Names = validNames(s.RepoTags, q.Events)
		if j, ok := at[r.Desc.Digest]; ok {
			roots[j].Names = imagename.Append(roots[j].Names, r.Names...)
			continue
		}
		at[r.Desc.Digest] = len(roots)
		roots = append(roots, r)
	}
	return roots, nil
}

func (a *archive) savedRoot(ctx context.Context, s savedImage, q pipeline.Query) (root, error) {
	config, diffIDs, err := a.savedConfig(ctx, s, q)
	if err != nil {
		return root{}, err
	}
	if len(diffIDs) != len(s.Layers) && q.Faults == nil {
		return root{}, fmt.Errorf("its config has %d diff IDs for %d layers; the archive is damaged, save the image again", len(diffIDs), len(s.Layers))
	}
	for len(diffIDs) < len(s.Layers) { // Resolve tells of it
		diffIDs = append(diffIDs, "")
	}
	members := make([]*member, len(s.Layers))
	for i, name := range s.Layers {
		if members[i], err = a.lookup(name); err != nil {
			return root{}, fmt.Errorf("layer %d: %w", i+1, err)
		}
	}
	layers, err := a.savedLayers(ctx, members, diffIDs, q)
	if err != nil {
		return root{}, err
	}
	desc, raw, err := pipeline.NewManifest(config, layers)
	if err != nil {
		return root{}, err
	}
	a.blobs[desc.Digest] = &member{name: "manifest " + desc.Digest.String(), data: raw, size: desc.Size}
	return root{Root: pipeline.Root{Desc: desc}, config: config.Digest}, nil
}

// savedConfig reads and verifies a config, and its diff IDs.
func (a *archive) savedConfig(ctx context.Context, s savedImage, q pipeline.Query) (desc ocispec.Descriptor, diffIDs []digest.Digest, err error) {
	m, err := a.lookup(s.Config)
	if err != nil {
		return desc, nil, fmt.Errorf("config: %w", err)
	}
	raw, err := a.read(ctx, m)
	if err != nil {
		return desc, nil, err
	}
	desc = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(raw), Size: m.size}
	if want := configDigest(s.Config); want != "" {
		if got := want.Algorithm().FromBytes(raw); got != want {
			if err := q.Fault(pipeline.FaultConfigDigest, "", pipeline.DigestError("config "+m.name, want, got)); err != nil {
				return desc, nil, err
			}
		}
	}
	var c struct {
		RootFS struct {
			DiffIDs []digest.Digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return desc, nil, fmt.Errorf("config %s: %w", m.name, err)
	}
	for i, d := range c.RootFS.DiffIDs {
		if err := d.Validate(); err != nil && q.Faults == nil {
			return desc, nil, fmt.Errorf("config %s: diff ID %q: %w", m.name, d, err)
		} else if err != nil {
			c.RootFS.DiffIDs[i] = "" // Resolve tells of it
		}
	}
	a.blobs[desc.Digest] = m
	return desc, c.RootFS.DiffIDs, nil
}

// savedLayers describes layers. The digest of a plain one is its diff ID, a
// claim that is verified when it is read; a compressed one whose name is not
// its digest has to be hashed.
func (a *archive) savedLayers(ctx context.Context, members []*member, diffIDs []digest.Digest, q pipeline.Query) ([]ocispec.Descriptor, error) {
	out := make([]ocispec.Descriptor, len(members))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	hashing := map[*member]bool{}
	for i, m := range members {
		c, err := a.sniff(ctx, m)
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", m.name, err)
		}
		out[i] = ocispec.Descriptor{MediaType: layerTypes[c], Size: m.size}
		switch {
		case out[i].MediaType == "":
			return nil, fmt.Errorf("layer %s is compressed with %s, which image layers cannot be; unpack it and pack the archive again", m.name, c)
		case c == codec.Plain && diffIDs[i] != "":
			out[i].Digest = diffIDs[i]
			if err := q.Fault(pipeline.FaultDiffID, "", checkPlain(m, diffIDs[i])); err != nil {
				return nil, err
			}
		case blobDigest(m.name) != "":
			out[i].Digest = blobDigest(m.name)
		case !hashing[m]:
			hashing[m] = true
			g.Go(func() error { return a.hash(gctx, m) })
		}
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for i, m := range members {
		if out[i].Digest == "" {
			out[i].Digest = m.sum
		}
		if have := a.blobs[out[i].Digest]; have == nil || have.link != "" {
			a.blobs[out[i].Digest] = m
		}
	}
	return out, nil
}

// layerTypes are the OCI media types of layers by their compression.
var layerTypes = map[codec.Compression]string{
	codec.Plain: ocispec.MediaTypeImageLayer,
	codec.Gzip:  ocispec.MediaTypeImageLayerGzip,
	codec.Zstd:  ocispec.MediaTypeImageLayerZstd,
}

// checkPlain compares a plain layer with its diff ID as far as that costs
// nothing.
func checkPlain(m *member, diffID digest.Digest) error {
	for _, have := range []digest.Digest{m.sum, blobDigest(m.name)} {
		if have != "" && have != diffID && have.Algorithm() == diffID.Algorithm() {
			return pipeline.DigestError("layer "+m.name, diffID, have)
		}
	}
	return nil
}

// sniff tells how a member is compressed.
func (a *archive) sniff(ctx context.Context, m *member) (codec.Compression, error) {
	head := make([]byte, min(codec.PeekSize, m.size))
	if _, err := io.ReadFull(a.open(ctx, m), head); err != nil {
		return "", noEOF(err)
	}
	return codec.Sniff(head), nil
}
