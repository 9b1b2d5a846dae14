package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// manifests reads the manifests, brings them up to date with what became of
// their layers, and sends the opaque blobs that are still wanted.
func (r *run) manifests(ctx context.Context, graph Graph) ([]Manifest, error) {
	w := &rewriter{run: r, results: map[digest.Digest]*rewritten{}}
	for m, err := range graph.Manifests(ctx) {
		if err != nil {
			return nil, on(SourceSide, err)
		}
		if err := w.add(ctx, m); err != nil {
			return nil, err
		}
	}
	if err := r.blobs(ctx, w.opaque()); err != nil {
		return nil, err
	}
	return w.kept()
}

// A rewritten manifest is what became of one.
type rewritten struct {
	Manifest
	source  ocispec.Descriptor
	opaque  []digest.Digest // blobs that go as they are
	dropped bool
}

func (m *rewritten) changed() bool { return m.Desc.Digest != m.source.Digest }

// rewriter brings manifests up to date, children before parents.
type rewriter struct {
	run     *run
	results map[digest.Digest]*rewritten
	order   []*rewritten
}

func (w *rewriter) add(ctx context.Context, m Manifest) error {
	n := &rewritten{Manifest: m, source: m.Desc}
	var err error
	if IsIndex(m.Desc.MediaType) {
		err = w.index(n)
	} else {
		err = w.image(ctx, n)
	}
	if err != nil {
		return fmt.Errorf("manifest %s: %w", m.Desc.Digest, err)
	}
	w.results[m.Desc.Digest] = n
	w.order = append(w.order, n)
	return nil
}

// image rewrites the manifest of an image or artifact, and an image's config.
func (w *rewriter) image(ctx context.Context, n *rewritten) error {
	m, err := parseManifest(n.source, n.Raw)
	if err != nil {
		return on(SourceSide, err)
	}
	if w.drop(n, m) {
		return nil
	}
	config, image, err := readImageConfig(m, n.Config)
	if err != nil {
		return on(SourceSide, err)
	}
	e := &imageEditor{run: w.run, n: n, m: m, image: image, diffIDs: slices.Clone(config.RootFS.DiffIDs)}
	return e.edit(ctx)
}

// drop leaves out what speaks of an image whose digest changed or that did not
// come along: attestations, and artifacts by their subject. To keep an
// attestation is to point its index entry at the new digest.
func (w *rewriter) drop(n *rewritten, m imageManifest) bool {
	subject, isAttestation := attestationOf(n.source)
	if isAttestation {
		s := w.results[subject]
		if s != nil && (!s.changed() || w.run.opts.Attestations == AttestationsKeep) {
			return false
		}
		return w.dropped(n, "the attestation of "+describeResult(s))
	}
	if m.Subject == nil || n.Root {
		return false
	}
	if s := w.results[m.Subject.Digest]; s != nil && s.changed() {
		return w.dropped(n, "an artifact that refers to "+describeResult(s))
	}
	return false
}

func (w *rewriter) dropped(n *rewritten, what string) bool {
	n.dropped = true
	w.run.report.Dropped = append(w.run.report.Dropped, what)
	return true
}

func describeResult(s *rewritten) string {
	if s == nil {
		return "an image that was left out"
	}
	return describe(s.source)
}

// index rewrites the entries of an index; those that did not come along leave.
func (w *rewriter) index(n *rewritten) error {
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
	n.seal(o)
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
	if string(raw) == string(m.Raw) {
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
		for _, d := range n.opaque {
			wanted[d] = !n.dropped || wanted[d]
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
		for _, d := range n.opaque {
			if o := w.run.outcomes[d]; o == nil || o.Result.Digest != d {
				return nil, on(SourceSide, fmt.Errorf("manifest %s: blob %s did not come", n.source.Digest, d))
			}
		}
		if n.Root {
			root := RootReport{Names: n.Names, Source: n.source.Digest, Manifest: n.Desc}
			if n.Config != nil {
				root.Config = digest.FromBytes(n.Config)
			}
			w.run.report.Roots = append(w.run.report.Roots, root)
		}
		out = append(out, n.Manifest)
	}
	return out, nil
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
