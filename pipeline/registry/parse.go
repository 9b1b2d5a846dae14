package registry

import (
	"encoding/json"
	"errors"
	"mime"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// A Manifest is a manifest or index that was read and found to be valid.
type Manifest struct {
	// Desc has media type, digest and size, and what a list of referrers tells
	// besides: artifact type and annotations.
	Desc ocispec.Descriptor
	// Raw are the bytes as they came.
	Raw []byte
	// Subject is what the manifest speaks of; nil for most.
	Subject *ocispec.Descriptor
	// Blobs are what an image or artifact consists of, its config first.
	Blobs []ocispec.Descriptor
	// Entries are those of an index: manifests, or blobs of BuildKit's caches.
	Entries []ocispec.Descriptor
}

// document is what the Handler reads of a manifest.
type document struct {
	SchemaVersion int                  `json:"schemaVersion"`
	MediaType     string               `json:"mediaType"`
	ArtifactType  string               `json:"artifactType"`
	Config        *ocispec.Descriptor  `json:"config"`
	Layers        []ocispec.Descriptor `json:"layers"`
	Manifests     []ocispec.Descriptor `json:"manifests"`
	Subject       *ocispec.Descriptor  `json:"subject"`
	Annotations   map[string]string    `json:"annotations"`
}

// ParseManifest reads a manifest of a media type, of which parameters are
// ignored; "" stands for the one that the manifest says itself. An error says
// what is wrong with it, for its author.
func ParseManifest(mediaType string, raw []byte, a digest.Algorithm) (Manifest, error) {
	o, err := pipeline.ParseObject(raw)
	if err != nil {
		return Manifest{}, err
	}
	var doc document
	if err := json.Unmarshal(raw, &doc); err != nil {
		return Manifest{}, err
	}
	if mediaType == "" {
		mediaType = doc.MediaType
	} else if mediaType, _, err = mime.ParseMediaType(mediaType); err != nil {
		return Manifest{}, errors.New("its Content-Type is no media type")
	}
	index := pipeline.IsIndex(mediaType)
	switch {
	case !index && !pipeline.IsManifest(mediaType):
		return Manifest{}, errors.New("its media type is not that of an OCI or Docker manifest or index")
	case doc.MediaType != "" && doc.MediaType != mediaType:
		return Manifest{}, errors.New("its Content-Type is not the mediaType that it says")
	case doc.SchemaVersion != 2:
		return Manifest{}, errors.New("its schemaVersion is not 2")
	case o.Get("fsLayers") != nil, index && (o.Get("layers") != nil || o.Get("config") != nil), !index && o.Get("manifests") != nil:
		return Manifest{}, errors.New("it can be read as an image and as an index") // CVE-2021-41190
	case !index && doc.Config == nil:
		return Manifest{}, errors.New("it has no config")
	}
	m := Manifest{
		Desc:    ocispec.Descriptor{MediaType: mediaType, Digest: a.FromBytes(raw), Size: int64(len(raw)), ArtifactType: doc.ArtifactType, Annotations: doc.Annotations},
		Raw:     raw,
		Subject: doc.Subject,
		Blobs:   doc.Layers,
		Entries: doc.Manifests,
	}
	if !index {
		m.Blobs = append([]ocispec.Descriptor{*doc.Config}, doc.Layers...)
		if m.Desc.ArtifactType == "" {
			m.Desc.ArtifactType = doc.Config.MediaType
		}
	}
	return m, m.checkDescriptors()
}

// checkDescriptors looks at all that a manifest names.
func (m Manifest) checkDescriptors() error {
	named := [][]ocispec.Descriptor{m.Blobs, m.Entries}
	if m.Subject != nil {
		named = append(named, []ocispec.Descriptor{*m.Subject})
	}
	for _, list := range named {
		for _, d := range list {
			if _, err := parseDigest(d.Digest.String()); err != nil || d.Size < 0 {
				return errors.New("it has a descriptor whose digest or size is not valid")
			}
		}
	}
	return nil
}

// elsewhere says whether a layer need not be in its registry: one with URLs, or
// of a type that must not be distributed.
func elsewhere(d ocispec.Descriptor) bool {
	return len(d.URLs) > 0 || strings.Contains(d.MediaType, ".nondistributable.") || strings.Contains(d.MediaType, ".foreign.")
}
