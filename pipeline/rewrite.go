package pipeline

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// manifests reads the manifests, brings them up to date with what became of
// their layers, and sends the opaque blobs that are still wanted.
func (r *run) manifests(ctx context.Context, graph Graph) ([]Manifest, error) {
	w := &rewriter{run: r, sources: map[digest.Digest]Manifest{}, results: map[digest.Digest]*rewritten{}}
	var listed []digest.Digest
	var all []Manifest
	for m, err := range graph.Manifests(ctx) {
		if err != nil {
			return nil, on(SourceSide, err)
		}
		w.sources[m.Desc.Digest] = m
		listed, all = append(listed, m.Desc.Digest), append(all, m)
	}
	if err := r.watchImages(all); err != nil {
		return nil, err
	}
	for _, d := range listed {
		if err := w.add(ctx, d, 0); err != nil {
			return nil, err
		}
	}
	if err := w.provenance(); err != nil {
		return nil, err
	}
	if err := r.blobs(ctx, w.opaque()); err != nil {
		return nil, err
	}
	return w.kept()
}

// A rewritten manifest is what became of one.
type rewritten struct {
	Manifest
	source ocispec.Descriptor
	origin origin
	// reshaped is the config's digest in the source, where Raw and Config are those
	// that a Reshaper made.
	reshaped digest.Digest
	layers   []ocispec.Descriptor // of an image or artifact, as they were
	opaque   []int                // which of layers go as they are
	image    bool
	config   digest.Digest // an image's, as it was
	// configDesc describes the config as it is.
	configDesc ocispec.Descriptor
	dropped    bool
	made       bool // by the run: a record of provenance
}

func (m *rewritten) changed() bool { return m.Desc.Digest != m.source.Digest }

// rewriter brings manifests up to date: children before parents, and what a
// manifest speaks of before the manifest.
type rewriter struct {
	run     *run
	sources map[digest.Digest]Manifest
	results map[digest.Digest]*rewritten
	order   []*rewritten
}

// add brings one manifest up to date, once; its subject comes before it,
// wherever it is listed.
func (w *rewriter) add(ctx context.Context, d digest.Digest, depth int) error {
	m, ok := w.sources[d]
	if !ok || w.results[d] != nil {
		return nil
	}
	n := &rewritten{Manifest: m, source: m.Desc, origin: w.run.origin(m), reshaped: w.run.reshaped[d]}
	err := w.referrals(ctx, n, depth)
	switch {
	case err != nil || n.dropped:
	case IsIndex(m.Desc.MediaType):
		err = w.index(ctx, n, depth)
	default:
		err = w.image(ctx, n, depth)
	}
	if err != nil {
		return fmt.Errorf("manifest %s: %w", d, err)
	}
	w.results[d] = n
	w.order = append(w.order, n)
	return nil
}

// image rewrites the manifest of an image or artifact, and an image's config.
func (w *rewriter) image(ctx context.Context, n *rewritten, depth int) error {
	m, err := parseManifest(n.source, n.Raw)
	if err != nil {
		return on(SourceSide, err)
	}
	n.layers = m.Layers
	subject, isAttestation := attestationOf(n.source)
	if !isAttestation && m.Subject != nil {
		subject = m.Subject.Digest
	}
	if depth > maxDepth {
		return on(SourceSide, fmt.Errorf("manifests that speak of one another deeper than %d: %w", maxDepth, ErrLimit))
	}
	if err := w.add(ctx, subject, depth+1); err != nil {
		return err
	}
	if w.drop(n, subject, isAttestation) {
		return nil
	}
	config, image, faults := readImageConfig(m, n.Config)
	if err := firstOf(faults); err != nil {
		return on(SourceSide, err)
	}
	e := &imageEditor{run: w.run, results: w.results, n: n, m: m, image: image, diffIDs: slices.Clone(config.RootFS.DiffIDs)}
	if err := e.edit(ctx); err != nil {
		return err
	}
	if n.image = image; image {
		n.config = cmp.Or(n.origin.config, n.reshaped, m.Config.Digest)
		if err := w.run.opts.Provenance.annotate(n); err != nil {
			return err
		}
	}
	w.follow(n, subject, isAttestation)
	return nil
}

// referrals leaves out a referrer, if all that it speaks of has another digest
// now or was left out. What it speaks of is brought up to date first.
func (w *rewriter) referrals(ctx context.Context, n *rewritten, depth int) error {
	if n.Refers == nil {
		return nil
	}
	if depth > maxDepth {
		return on(SourceSide, fmt.Errorf("manifests that speak of one another deeper than %d: %w", maxDepth, ErrLimit))
	}
	var kept []Referral
	for _, of := range n.Refers {
		if err := w.add(ctx, of.Subject, depth+1); err != nil {
			return err
		}
		s := w.results[of.Subject]
		if s == nil || !s.changed() && !s.dropped {
			kept = append(kept, of)
			continue
		}
		w.run.report.Dropped = append(w.run.report.Dropped, of.describe(n.Desc)+" of "+describe(s.source))
	}
	n.Refers, n.dropped = kept, kept == nil
	return nil
}

// describe names a referrer for messages.
func (of Referral) describe(desc ocispec.Descriptor) string {
	if _, ok := CosignSubject(of.Tag); ok {
		return "the " + cosignEnds[path.Ext(of.Tag)]
	}
	if desc.ArtifactType != "" {
		return "a referrer (" + desc.ArtifactType + ")"
	}
	return "a referrer"
}

// drop leaves out what speaks of an image whose digest changed or that was left
// out itself: attestations, and artifacts by their subject. What speaks of
// something that is not here says nothing wrong, and stays. To keep an
// attestation is to point it at the new digest. Who wants no attestations gets
// none.
func (w *rewriter) drop(n *rewritten, subject digest.Digest, isAttestation bool) bool {
	s := w.results[subject]
	if isAttestation && !n.Root && w.run.opts.Attestations == AttestationsNone {
		what := ocispec.Descriptor{Digest: subject}
		if s != nil {
			what = s.source
		}
		n.dropped = true
		w.run.report.Dropped = append(w.run.report.Dropped, "the attestation of "+describe(what))
		return true
	}
	if s == nil || !s.changed() && !s.dropped || !isAttestation && n.Root {
		return false
	}
	if isAttestation && !s.dropped && w.run.opts.Attestations == AttestationsKeep {
		return false
	}
	n.dropped = true
	what := "an artifact that refers to "
	if isAttestation {
		what = "the attestation of "
	}
	w.run.report.Dropped = append(w.run.report.Dropped, what+describe(s.source))
	return true
}

// follow points the annotation of an attestation at the image's new digest.
func (w *rewriter) follow(n *rewritten, subject digest.Digest, isAttestation bool) {
	if s := w.results[subject]; isAttestation && s != nil && s.changed() {
		n.Desc.Annotations = maps.Clone(n.Desc.Annotations)
		n.Desc.Annotations[annotationReferenceDigest] = s.Desc.Digest.String()
	}
}

// index rewrites the entries of an index; those that did not come along leave.
func (w *rewriter) index(ctx context.Context, n *rewritten, depth int) error {
	docker := n.source.MediaType == MediaTypeDockerManifestList
	o, err := ParseObject(n.Raw)
	if err != nil {
		return on(SourceSide, err)
	}
	was, err := objects(o.Get("manifests"))
	if err != nil {
		return on(SourceSide, err)
	}
	var now []*Object
	oci := false
	for _, entry := range was {
		var desc ocispec.Descriptor
		if err := json.Unmarshal(entry.Bytes(), &desc); err != nil {
			return on(SourceSide, err)
		}
		if err := w.add(ctx, desc.Digest, depth+1); err != nil {
			return err
		}
		child := w.results[desc.Digest]
		if child == nil || child.dropped {
			continue
		}
		if err := w.entry(entry, desc, child); err != nil {
			return err
		}
		oci = oci || docker && child.changed() && !dockerFamily(child.Desc.MediaType)
		now = append(now, entry)
	}
	if err := o.setObjects("manifests", len(was), now); err != nil {
		return err
	}
	if oci {
		n.Desc.MediaType = ocispec.MediaTypeImageIndex
		if err := o.Set("mediaType", n.Desc.MediaType); err != nil {
			return err
		}
	}
	if err := w.indexSubject(n, o); err != nil {
		return err
	}
	n.seal(o)
	if !n.Root {
		return nil
	}
	return w.run.opts.Provenance.annotate(n)
}

// indexSubject takes the subject out of an index that speaks of an image which
// has another digest now: the index would speak of nothing that is here.
func (w *rewriter) indexSubject(n *rewritten, o *Object) error {
	var subject ocispec.Descriptor
	raw := o.Get("subject")
	if raw == nil {
		return nil
	}
	if err := json.Unmarshal(raw, &subject); err != nil {
		return on(SourceSide, err)
	}
	if s := w.results[subject.Digest]; s != nil && s.changed() {
		o.Delete("subject")
		w.run.report.Dropped = append(w.run.report.Dropped, "the reference of index "+n.source.Digest.String()+" to "+describe(s.source))
	}
	return nil
}

// entry points an entry of an index at what its manifest became.
func (w *rewriter) entry(entry *Object, desc ocispec.Descriptor, child *rewritten) error {
	if child.changed() {
		if err := setDescriptor(entry, child.Desc); err != nil {
			return err
		}
	}
	subject, ok := attestationOf(desc)
	if s := w.results[subject]; ok && s != nil && s.changed() {
		notes := desc.Annotations
		notes[annotationReferenceDigest] = s.Desc.Digest.String()
		return entry.Set("annotations", notes)
	}
	return nil
}

// seal gives the manifest the bytes of o and their name.
func (m *rewritten) seal(o *Object) {
	raw := o.Bytes()
	if string(raw) == string(m.Raw) && m.reshaped == "" {
		return
	}
	m.Raw = raw
	m.Desc.Digest = m.source.Digest.Algorithm().FromBytes(raw)
	m.Desc.Size = int64(len(raw))
}

// setDescriptor brings a descriptor object up to date, keeping its other
// members.
func setDescriptor(o *Object, desc ocispec.Descriptor) error {
	for _, f := range []struct {
		key string
		v   any
	}{{"mediaType", desc.MediaType}, {"digest", desc.Digest}, {"size", desc.Size}} {
		if err := o.Set(f.key, f.v); err != nil {
			return err
		}
	}
	o.Delete("data") // an embedded copy of the old bytes
	return nil
}

// opaque is the set of opaque blobs that the kept manifests list.
func (w *rewriter) opaque() map[digest.Digest]bool {
	wanted := map[digest.Digest]bool{}
	for _, n := range w.order {
		for _, i := range n.opaque {
			wanted[n.layers[i].Digest] = true
		}
	}
	return wanted
}

// kept are the manifests to commit. Every root is reported.
func (w *rewriter) kept() ([]Manifest, error) {
	var out []Manifest
	for _, n := range w.order {
		if n.dropped {
			continue
		}
		for _, i := range n.opaque {
			if err := w.arrived(n, i); err != nil {
				return nil, on(SourceSide, fmt.Errorf("manifest %s: blob %s: %w", n.source.Digest, n.layers[i].Digest, err))
			}
		}
		if n.Root {
			root := RootReport{Names: n.Names, Source: n.origin.manifest, Manifest: n.Desc}
			if n.Config != nil {
				root.Config = digest.FromBytes(n.Config)
			}
			if w.run.opts.Capacity.OnlyConfigs && n.image {
				root.Source, root.Manifest = n.config, n.configDesc
			}
			w.run.report.Roots = append(w.run.report.Roots, root)
		}
		if n.Refers != nil && !n.made {
			w.run.report.Referrers++
		}
		if w.run.opts.became != nil {
			w.run.opts.became[n.Desc.Digest] = origin{n.origin.mediaType, n.origin.manifest, n.config}
		}
		out = append(out, n.Manifest)
	}
	return out, nil
}

// arrived says whether an opaque blob came as it was.
func (w *rewriter) arrived(n *rewritten, i int) error {
	desc := n.layers[i]
	o := w.run.outcome(n.source.Digest, n.layers, i, Opaque)
	switch {
	case o == nil || o.Result.Digest != desc.Digest && o.How != HowSkipped:
		return fmt.Errorf("it did not come")
	case o.Source.Size != desc.Size:
		return fmt.Errorf("%w: it has %d bytes, its descriptor says %d", ErrDigest, o.Source.Size, desc.Size)
	}
	return nil
}

// lyingAnnotations describe the bytes of a layer as they were; they leave when
// the bytes change (stargz-snapshotter docs/estargz.md; containers/storage
// pkg/chunked; containerd labels).
func lyingAnnotation(key string) bool {
	return strings.HasPrefix(key, "containerd.io/snapshot/stargz/") ||
		strings.HasPrefix(key, "io.containers.estargz.") ||
		strings.HasPrefix(key, "io.containers.zstd-chunked.") ||
		strings.HasPrefix(key, "io.github.containers.zstd-chunked.") ||
		key == "containerd.io/uncompressed"
}
