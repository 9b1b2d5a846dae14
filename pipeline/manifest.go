package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Annotations by which BuildKit ties an attestation to its image in an index
// (buildkit, docs/attestations/attestation-storage.md).
const (
	annotationReferenceType   = "vnd.docker.reference.type"
	annotationReferenceDigest = "vnd.docker.reference.digest"
	attestationManifest       = "attestation-manifest"
)

// attestationOf returns the digest of the image that an index's entry attests.
func attestationOf(desc ocispec.Descriptor) (digest.Digest, bool) {
	if desc.Annotations[annotationReferenceType] != attestationManifest {
		return "", false
	}
	return digest.Digest(desc.Annotations[annotationReferenceDigest]), true
}

// describe names an index's entry for messages.
func describe(desc ocispec.Descriptor) string {
	if _, ok := attestationOf(desc); ok {
		return "an attestation"
	}
	if desc.Platform != nil {
		return platforms.FormatAll(*desc.Platform)
	}
	return desc.Digest.String()
}

// imageManifest is what the engine needs to know of a manifest.
type imageManifest struct {
	SchemaVersion int                  `json:"schemaVersion"`
	MediaType     string               `json:"mediaType"`
	Config        ocispec.Descriptor   `json:"config"`
	Layers        []ocispec.Descriptor `json:"layers"`
	Subject       *ocispec.Descriptor  `json:"subject"`
}

// parseManifest reads an image or artifact manifest. One that could also be
// read as an index is refused (CVE-2021-41190).
func parseManifest(desc ocispec.Descriptor, raw []byte) (m imageManifest, err error) {
	what := "manifest " + desc.Digest.String()
	if !IsManifest(desc.MediaType) {
		return m, fmt.Errorf("%s: unknown manifest type %q; it is not an image or artifact", what, desc.MediaType)
	}
	o, err := ParseObject(raw)
	if err != nil {
		return m, fmt.Errorf("%s: %w", what, err)
	}
	if o.Get("manifests") != nil || o.Get("fsLayers") != nil {
		return m, fmt.Errorf("%s: it is ambiguous: an image that also lists manifests or schema 1 layers", what)
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return m, fmt.Errorf("%s: %w", what, err)
	}
	return m, nil
}

// NewManifest makes the manifest of an image that came without one: from an old
// archive, or a graph driver. Its bytes are those that Docker itself gives such an
// image since 25, when it saves it, so that an image has one digest, whichever way
// it came.
func NewManifest(config ocispec.Descriptor, layers []ocispec.Descriptor) (ocispec.Descriptor, []byte, error) {
	raw, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: config, Layers: append([]ocispec.Descriptor{}, layers...), // [] where there are none
	})
	if err != nil {
		return ocispec.Descriptor{}, nil, fmt.Errorf("make a manifest for config %s: %w", config.Digest, err)
	}
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(raw), Size: int64(len(raw))}, raw, nil
}

// typeFault says that a manifest names another type than its descriptor.
func (m imageManifest) typeFault(desc ocispec.Descriptor) error {
	if m.MediaType != "" && m.MediaType != desc.MediaType {
		return fmt.Errorf("manifest %s: it says %q, its descriptor says %q", desc.Digest, m.MediaType, desc.MediaType)
	}
	return nil
}

// parseIndex reads the entries of an index or manifest list.
func parseIndex(desc ocispec.Descriptor, raw []byte) ([]ocispec.Descriptor, error) {
	what := "index " + desc.Digest.String()
	o, err := ParseObject(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if o.Get("layers") != nil || o.Get("config") != nil || o.Get("fsLayers") != nil {
		return nil, fmt.Errorf("%s: it is ambiguous: an index that also has layers or a config", what)
	}
	var idx ocispec.Index
	if err := json.Unmarshal(raw, &idx); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return idx.Manifests, nil
}

// imageConfig is what the engine needs to know of an image's config.
type imageConfig struct {
	ocispec.Platform
	RootFS struct {
		DiffIDs []digest.Digest `json:"diff_ids"`
	} `json:"rootfs"`
}

// manifest adds an image or artifact whose config and layers are held; with a
// blob missing it is ErrNotFound.
func (r *resolver) manifest(ctx context.Context, c Content, desc ocispec.Descriptor, raw []byte) (*node, error) {
	if have := r.nodes[desc.Digest]; have != nil {
		return have, nil
	}
	m, err := parseManifest(desc, raw)
	if err != nil {
		return nil, r.q.faulty(FaultManifestFormat, desc.Digest, err)
	}
	if err := r.q.Fault(FaultManifestType, desc.Digest, m.typeFault(desc)); err != nil {
		return nil, err
	}
	n := &node{Manifest: Manifest{Desc: desc, Raw: raw}, content: c, layers: m.Layers}
	if n.Config, err = r.config(ctx, c, desc, m.Config); err != nil {
		return nil, err
	}
	for _, l := range m.Layers {
		if err := r.holds(ctx, c, desc, l); err != nil {
			return nil, fmt.Errorf("layer %s: %w", l.Digest, err)
		}
	}
	faults := n.readConfig(m)
	if n.Config == nil && r.q.Faults != nil { // told already
		faults = nil
	}
	if err := r.q.tell(desc.Digest, faults); err != nil {
		return nil, fmt.Errorf("config %s: %w", m.Config.Digest, err)
	}
	return r.add(n), nil
}

// config reads the config of a manifest; nil where it cannot be had and that is
// told as a fault.
func (r *resolver) config(ctx context.Context, c Content, of, desc ocispec.Descriptor) ([]byte, error) {
	if err := desc.Digest.Validate(); err != nil {
		return nil, r.q.Fault(FaultConfigDescriptor, of.Digest, fmt.Errorf("config %s: %w", desc.Digest, err))
	}
	raw, err := r.blob(ctx, c, "config", desc, of.Digest)
	if errors.Is(err, ErrNotFound) {
		err = r.q.Fault(FaultMissing, of.Digest, err)
	}
	return raw, err
}

// holds checks that a layer is there, if it has to be.
func (r *resolver) holds(ctx context.Context, c Content, of, l ocispec.Descriptor) error {
	if isForeign(l) || r.q.Faults != nil && layerFault(l) != nil { // told later
		return nil //nolint:nilerr // as it says
	}
	if s, ok := c.(Sparse); ok && s.Omits(l.Digest) {
		return nil
	}
	held, err := c.Holds(ctx, l)
	if err == nil && !held {
		err = r.q.Fault(FaultMissing, of.Digest, fmt.Errorf("layer %s: %w", l.Digest, ErrNotFound))
		if err != nil {
			return ErrNotFound
		}
	}
	return err
}

// readConfig tells an image from an artifact, and finds its diff IDs.
func (n *node) readConfig(m imageManifest) []Fault {
	config, image, faults := readImageConfig(m, n.Config)
	if !image {
		return faults
	}
	n.image, n.diffIDs = true, config.RootFS.DiffIDs
	if n.Desc.Platform == nil && config.OS != "" {
		n.Desc.Platform = &config.Platform
	}
	return faults
}

// readImageConfig reads the config of a manifest; image is false for an
// artifact, whose config may be anything. Whatever is wrong, there is a diff ID
// for each layer, "" for one that is unknown.
func readImageConfig(m imageManifest, raw []byte) (c imageConfig, image bool, faults []Fault) {
	if !isImageConfig(m.Config.MediaType) {
		return c, false, nil
	}
	fileSystem := len(m.Layers) == 0
	for _, l := range m.Layers {
		fileSystem = fileSystem || !isOpaque(l.MediaType)
	}
	_, err := ParseObject(raw)
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	if err != nil {
		c = imageConfig{}
		faults = append(faults, Fault{Kind: FaultConfigFormat, Err: err})
	}
	if !fileSystem {
		return c, false, faults // an attestation or a signature
	}
	if have := len(c.RootFS.DiffIDs); err == nil && have != len(m.Layers) {
		faults = append(faults, Fault{Kind: FaultLayerCount, Err: fmt.Errorf("%d diff IDs for %d layers", have, len(m.Layers))})
	}
	ids := make([]digest.Digest, len(m.Layers))
	for i := range copy(ids, c.RootFS.DiffIDs) {
		if err := ids[i].Validate(); err != nil {
			faults = append(faults, Fault{Kind: FaultDiffID, Err: fmt.Errorf("diff ID %q: %w", strings.ToValidUTF8(ids[i].String(), "?"), err)})
			ids[i] = ""
		}
	}
	c.RootFS.DiffIDs = ids
	return c, true, faults
}
