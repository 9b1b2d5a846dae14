package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ProvenanceMode says where it is recorded what an image was made from.
type ProvenanceMode string

// The modes; the zero value is ProvenanceOff, because a source's digest in a
// manifest makes two builds differ that would have come to the same image.
const (
	ProvenanceOff ProvenanceMode = "off"
	// ProvenanceReferrer pushes an artifact beside the image, which refers to it.
	ProvenanceReferrer ProvenanceMode = "referrer"
	// ProvenanceAnnotation writes annotations into the image's manifest.
	ProvenanceAnnotation ProvenanceMode = "annotation"
)

// Provenance is what is recorded of images and root indexes that changed in a
// run: the digest that they had, the filters, and who did it. What did not
// change has its old digest, which says all. Nothing in it depends on time or
// place, so equal runs record equal bytes.
type Provenance struct {
	Mode ProvenanceMode
	// Version is that of the program.
	Version string
	// Filters are the filters of the run in their order, without the values of
	// their options: those may be secrets.
	Filters []FilterOutline
}

// The annotations of our own, on images with ProvenanceAnnotation and on the
// artifact with ProvenanceReferrer.
const (
	// AnnotationSource is the digest of the manifest as the source had it.
	AnnotationSource = "io.github.occystrap.source.digest"
	// AnnotationRecipe is the filters, as "exclude:pattern config:env,user"; it
	// is missing where there were none.
	AnnotationRecipe = "io.github.occystrap.recipe"
	// AnnotationVersion is the version of occystrap.
	AnnotationVersion = "io.github.occystrap.version"
)

// The in-toto statement in the artifact of ProvenanceReferrer (in-toto
// attestation framework, spec/v1; the annotation is BuildKit's).
const (
	// ProvenancePredicate is its predicate's type.
	ProvenancePredicate = "https://github.com/occystrap/occystrap/transformed-from/v1"

	typeStatement           = "https://in-toto.io/Statement/v1"
	typeInToto              = "application/vnd.in-toto+json"
	annotationPredicateType = "in-toto.io/predicate-type"
)

// fit leaves out what the sink cannot hold, or refuses it where that was asked
// for by name.
func (o *Options) fit() error {
	c := o.Capacity
	c.NoReferrers = c.NoReferrers || c.Platform != nil // where no index can be, nothing else can that is no image
	if o.Referrers && c.NoReferrers {
		o.Referrers = false
		o.Events.Warn("the destination cannot hold what refers to an image (signatures and the like); nothing of it is taken")
	}
	switch {
	case o.Provenance.Mode == ProvenanceReferrer && c.NoReferrers && c.NoAnnotations:
		return Usage("the destination keeps no manifests, and nothing that could refer to one: --provenance needs a registry or an OCI layout there")
	case o.Provenance.Mode == ProvenanceReferrer && c.NoReferrers:
		return Usage("the destination cannot hold what refers to an image; write --provenance=annotation, or to a registry or an OCI layout")
	case o.Provenance.Mode == ProvenanceAnnotation && c.NoAnnotations:
		return Usage("the destination keeps no manifests, which --provenance=annotation writes into; write to a registry or an OCI layout")
	}
	return nil
}

// notes are the annotations that say what came of source.
func (p Provenance) notes(source digest.Digest) map[string]string {
	notes := map[string]string{AnnotationSource: source.String(), AnnotationVersion: p.Version}
	var recipe []string
	for _, f := range p.Filters {
		recipe = append(recipe, f.String())
	}
	if len(recipe) > 0 {
		notes[AnnotationRecipe] = strings.Join(recipe, " ")
	}
	return notes
}

// annotate records in a manifest that changed what it was made from. A Docker
// manifest, which has no annotations, becomes an OCI one.
func (p Provenance) annotate(n *rewritten) error {
	if p.Mode != ProvenanceAnnotation || !n.differs() {
		return nil
	}
	o, err := ParseObject(n.Raw)
	if err != nil {
		return err
	}
	var were map[string]string
	if raw := o.Get("annotations"); raw != nil {
		if err := json.Unmarshal(raw, &were); err != nil {
			return on(SourceSide, err)
		}
	}
	notes := map[string]string{}
	maps.Copy(notes, were)
	maps.Copy(notes, p.notes(n.origin.manifest))
	if err := o.Set("annotations", notes); err != nil {
		return err
	}
	if dockerFamily(n.Desc.MediaType) {
		n.Desc.MediaType = ociType(n.Desc.MediaType)
		if err := o.toOCI(n.Desc.MediaType); err != nil {
			return err
		}
	}
	n.seal(o)
	return nil
}

// toOCI gives a manifest or index the type mediaType, and its config and layers
// OCI's types.
func (o *Object) toOCI(mediaType string) error {
	if err := o.Set("mediaType", mediaType); err != nil {
		return err
	}
	if raw := o.Get("config"); raw != nil {
		config, err := ParseObject(raw)
		if err != nil {
			return err
		}
		if err := typesToOCI([]*Object{config}); err != nil {
			return err
		}
		if err := o.Set("config", config); err != nil {
			return err
		}
	}
	if raw := o.Get("layers"); raw != nil {
		layers, err := objects(raw)
		if err != nil {
			return err
		}
		if err := typesToOCI(layers); err != nil {
			return err
		}
		return o.setObjects("layers", len(layers), layers)
	}
	return nil
}

// statement is an in-toto statement about one manifest.
type statement struct {
	Type          string            `json:"_type"`
	Subject       []statementObject `json:"subject"`
	PredicateType string            `json:"predicateType"`
	Predicate     transformed       `json:"predicate"`
}

type statementObject struct {
	MediaType string            `json:"mediaType,omitempty"`
	Digest    map[string]string `json:"digest"`
}

// transformed is what a manifest was made from, and how.
type transformed struct {
	Source statementObject `json:"source"`
	// Config is an image's config as it was: a daemon knows the image by it.
	Config  *statementObject `json:"sourceConfig,omitempty"`
	Filters []FilterOutline  `json:"filters"`
	Builder struct {
		ID      string `json:"id"`
		Version string `json:"version"`
	} `json:"builder"`
}

func stated(mediaType string, d digest.Digest) statementObject {
	return statementObject{MediaType: mediaType, Digest: map[string]string{d.Algorithm().String(): d.Encoded()}}
}

// refer is the artifact that says of a manifest what it was made from, and its
// only blob.
func (p Provenance) refer(n *rewritten) (*rewritten, []byte, error) {
	s := statement{Type: typeStatement, Subject: []statementObject{stated(n.Desc.MediaType, n.Desc.Digest)}, PredicateType: ProvenancePredicate}
	s.Predicate.Source = stated(n.origin.mediaType, n.origin.manifest)
	if n.config != "" {
		config := stated("", n.config)
		s.Predicate.Config = &config
	}
	s.Predicate.Filters = append([]FilterOutline{}, p.Filters...)
	s.Predicate.Builder.ID, s.Predicate.Builder.Version = "https://github.com/occystrap/occystrap", p.Version
	blob, err := marshal(s)
	if err != nil {
		return nil, nil, err
	}
	layer := ocispec.Descriptor{
		MediaType: typeInToto, Digest: digest.FromBytes(blob), Size: int64(len(blob)),
		Annotations: map[string]string{annotationPredicateType: ProvenancePredicate},
	}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: typeInToto,
		Config: ocispec.DescriptorEmptyJSON, Layers: []ocispec.Descriptor{layer}, Annotations: p.notes(n.origin.manifest),
		Subject: &ocispec.Descriptor{MediaType: n.Desc.MediaType, Digest: n.Desc.Digest, Size: n.Desc.Size},
	}
	m.Annotations[annotationPredicateType] = ProvenancePredicate
	raw, err := marshal(m)
	if err != nil {
		return nil, nil, err
	}
	desc := ocispec.Descriptor{
		MediaType: m.MediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw)), ArtifactType: m.ArtifactType, Annotations: m.Annotations,
	}
	out := &rewritten{source: desc, layers: m.Layers, opaque: []int{0}, made: true}
	out.Manifest = Manifest{Desc: desc, Raw: raw, Config: []byte("{}"), Refers: []Referral{{Subject: n.Desc.Digest}}}
	return out, blob, nil
}

// provenance adds an artifact for each image that changed, and each root index.
func (w *rewriter) provenance() error {
	p := w.run.opts.Provenance
	if p.Mode != ProvenanceReferrer {
		return nil
	}
	for _, n := range w.order { // what is appended is not ranged over
		if n.dropped || !n.differs() || !n.image && (!n.Root || !IsIndex(n.Desc.MediaType)) {
			continue
		}
		artifact, blob, err := p.refer(n)
		if err != nil {
			return err
		}
		w.order = append(w.order, artifact)
		w.run.deferred = append(w.run.deferred, Layer{
			Blob: artifact.layers[0], Role: Opaque,
			Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(blob)), nil },
		})
	}
	return nil
}
