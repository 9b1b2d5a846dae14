package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Root is what one name of a source points at.
type Root struct {
	Desc  ocispec.Descriptor
	Names []string // full names, as Manifest.Names
	// Tags are names that are a tag only, as an OCI layout may have them.
	Tags []string
}

// ResolveOptions say how a source reads the graph of its roots.
type ResolveOptions struct {
	// OneImage: without --platform, an index stands for one image, that of this
	// machine (a registry). Otherwise it stands for all that is held.
	OneImage bool
	// Origin is Layer.Origin of every layer.
	Origin string
}

// Resolve reads manifests and configs from content, chooses platforms, prunes
// or fetches what is missing, and returns the graph. Its layers open through
// content. Close of the graph calls closer, which may be nil; after an error
// the caller still has to.
func Resolve(ctx context.Context, content Content, roots []Root, q Query, opts ResolveOptions, closer func() error) (Graph, error) {
	r := &resolver{content: content, q: q, opts: opts, limits: q.Limits.WithDefaults(), nodes: map[digest.Digest]*node{}}
	told := false // in place of an image there is a fault
	roots, err := r.withoutReferrers(ctx, roots)
	if err != nil {
		return nil, err
	}
	for _, root := range r.fitting(roots) {
		err := r.root(ctx, root)
		if errors.Is(err, ErrDigest) {
			err = q.faulty(FaultManifestDigest, root.Desc.Digest, err)
		}
		if err != nil && !errors.Is(err, errFaulty) {
			return nil, fmt.Errorf("%s: %w", root.name(), err)
		}
		told = told || err != nil
	}
	if len(r.order) == 0 && !told {
		return nil, fmt.Errorf("no image: %w", ErrNotFound)
	}
	if err := r.referrers(ctx); err != nil {
		return nil, err
	}
	return newResolved(r.order, q, opts.Origin, closer)
}

// fitting is the first of several roots where the sink has one name; the others
// are named aloud.
func (r *resolver) fitting(roots []Root) []Root {
	if !r.q.Capacity.OneName || len(roots) < 2 {
		return roots
	}
	var left []string
	for _, root := range roots[1:] {
		left = append(left, root.name())
	}
	r.q.Events.Warn(fmt.Sprintf("the destination has one name: it gets %s; left out are %s", roots[0].name(), strings.Join(left, ", ")))
	return roots[:1]
}

func (r Root) name() string {
	if len(r.Names) > 0 {
		return r.Names[0]
	}
	return r.Desc.Digest.String()
}

// maxDepth bounds indexes within indexes; real ones have two levels.
const maxDepth = 8

type resolver struct {
	content Content
	q       Query
	opts    ResolveOptions
	limits  Limits
	nodes   map[digest.Digest]*node
	order   []*node
	fetched int
	names   []string // of the root at hand
}

// root adds what one root stands for to the graph.
func (r *resolver) root(ctx context.Context, root Root) error {
	r.names = root.Names
	raw, err := r.fetch(ctx, r.content, root.Desc)
	if err != nil {
		return err
	}
	var n *node
	switch want := r.wanted(); {
	case !IsIndex(root.Desc.MediaType):
		if n, err = r.manifest(ctx, r.content, root.Desc, raw); err == nil {
			err = r.checkPlatform(n)
		}
	case len(want) == 1:
		n, err = r.oneImage(ctx, root.Desc, raw)
	default:
		n, err = r.rootIndex(ctx, root.Desc, raw)
	}
	if err != nil {
		return err
	}
	n.Root = true
	n.Names = append(n.Names, root.Names...)
	return nil
}

// wanted is the platforms to choose; nil for all.
func (r *resolver) wanted() []ocispec.Platform {
	switch p := r.q.Platforms; {
	case p.All:
		return nil
	case len(p.Want) > 0:
		return p.Want
	case r.q.Capacity.Platform != nil:
		return []ocispec.Platform{*r.q.Capacity.Platform}
	case r.opts.OneImage:
		return []ocispec.Platform{DefaultPlatform()}
	}
	return nil
}

// explicit says whether the user named platforms.
func (r *resolver) explicit() bool { return !r.q.Platforms.All && len(r.q.Platforms.Want) > 0 }

// fetch reads a manifest, within the limits on size and number.
func (r *resolver) fetch(ctx context.Context, c Content, desc ocispec.Descriptor) ([]byte, error) {
	if r.fetched++; r.fetched > r.limits.Manifests {
		return nil, fmt.Errorf("more than %d manifests: %w", r.limits.Manifests, ErrLimit)
	}
	return r.blob(ctx, c, "manifest", desc, desc.Digest)
}

// blob reads a small blob of a manifest, or the manifest, and checks its digest,
// whatever the Content promises.
func (r *resolver) blob(ctx context.Context, c Content, kind string, desc ocispec.Descriptor, of digest.Digest) ([]byte, error) {
	what := kind + " " + desc.Digest.String()
	if err := desc.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if err := r.limits.CheckManifest(what, desc.Size); err != nil {
		return nil, err
	}
	raw, err := c.Fetch(ctx, desc)
	if err != nil && (r.q.Faults == nil || raw == nil || !errors.Is(err, ErrDigest)) {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	digestFault, sizeFault := FaultConfigDigest, FaultConfigSize
	if kind == "manifest" {
		digestFault, sizeFault = FaultManifestDigest, FaultManifestDigest
	}
	if got := desc.Digest.Algorithm().FromBytes(raw); got != desc.Digest {
		if err := r.q.Fault(digestFault, of, DigestError(what, desc.Digest, got)); err != nil {
			return nil, err
		}
	}
	if desc.Size > 0 && int64(len(raw)) != desc.Size {
		err := fmt.Errorf("%s: %w: %d bytes, its descriptor says %d", what, ErrDigest, len(raw), desc.Size)
		if err := r.q.Fault(sizeFault, of, err); err != nil {
			return nil, err
		}
	}
	return raw, nil
}

// rootIndex carries an index. When images are missing and one is left alone, it
// is carried as itself, so that its digest stays.
func (r *resolver) rootIndex(ctx context.Context, desc ocispec.Descriptor, raw []byte) (*node, error) {
	kept, missing, err := r.index(ctx, desc, raw, 0)
	if err != nil {
		return nil, err
	}
	if len(kept) == 0 {
		return nil, fmt.Errorf("none of its images is here: %w", ErrNotFound)
	}
	if r.q.Faults == nil && missing && len(kept) == 1 && !IsIndex(kept[0].Desc.MediaType) {
		return kept[0], nil
	}
	return r.add(&node{Manifest: Manifest{Desc: desc, Raw: raw}, content: r.content}), nil
}

// index adds the children of an index that are wanted and held, and returns
// them.
func (r *resolver) index(ctx context.Context, desc ocispec.Descriptor, raw []byte, depth int) (kept []*node, missing bool, err error) {
	children, err := parseIndex(desc, raw)
	if err != nil {
		return nil, false, r.q.faulty(FaultManifestFormat, desc.Digest, err)
	}
	if depth > maxDepth {
		return nil, false, fmt.Errorf("indexes nested deeper than %d: %w", maxDepth, ErrLimit)
	}
	wanted, err := r.chooseSeveral(ctx, children)
	if err != nil {
		return nil, false, err
	}
	left := map[digest.Digest]bool{} // entries that did not come along
	for _, c := range bySubject(children) {
		subject, isAttestation := attestationOf(c)
		if !wanted(c) || isAttestation && left[subject] {
			left[c.Digest] = true
			continue
		}
		n, err := r.child(ctx, c, depth)
		if err != nil {
			return nil, false, err
		}
		if n == nil {
			missing, left[c.Digest] = true, true
			continue
		}
		kept = append(kept, n)
	}
	return kept, missing, nil
}

// bySubject is the entries of an index with attestations behind what they
// attest. Those that attest one another in a circle, which digests forbid, come
// last.
func bySubject(children []ocispec.Descriptor) []ocispec.Descriptor {
	waiting := map[digest.Digest]bool{}
	for _, c := range children {
		waiting[c.Digest] = true
	}
	var out []ocispec.Descriptor
	for todo := children; len(todo) > 0; {
		var later []ocispec.Descriptor
		for _, c := range todo {
			if subject, ok := attestationOf(c); ok && waiting[subject] && subject != c.Digest {
				later = append(later, c)
				continue
			}
			out = append(out, c)
		}
		for _, c := range out {
			delete(waiting, c.Digest)
		}
		if len(later) == len(todo) {
			return append(out, later...)
		}
		todo = later
	}
	return out
}

// child adds one child of an index; nil when it is not here and may be left
// out.
func (r *resolver) child(ctx context.Context, desc ocispec.Descriptor, depth int) (*node, error) {
	n, err := r.childFrom(ctx, r.content, desc, depth)
	if errors.Is(err, ErrDigest) {
		err = r.q.faulty(FaultManifestDigest, desc.Digest, err)
	}
	if errors.Is(err, errFaulty) {
		return nil, nil
	}
	if !errors.Is(err, ErrNotFound) {
		return n, err
	}
	switch r.q.Missing { //nolint:exhaustive // to prune is what is left
	case MissingFail:
		return nil, fmt.Errorf("%s is not here: %w (leave it out with --missing=prune, or fetch it with --missing=fetch)", describe(desc), err)
	case MissingFetch:
		c, ferr := r.elsewhere(ctx)
		if ferr != nil {
			return nil, fmt.Errorf("fetch %s: %w", describe(desc), ferr)
		}
		return r.childFrom(ctx, c, desc, depth)
	}
	if _, isAttestation := attestationOf(desc); !isAttestation {
		r.q.Events.Warn(fmt.Sprintf("%s: %s is not here and is left out", Root{Names: r.names, Desc: desc}.name(), describe(desc)))
	}
	return nil, nil
}

func (r *resolver) elsewhere(ctx context.Context) (Content, error) {
	if r.q.Elsewhere == nil || len(r.names) == 0 {
		return nil, fmt.Errorf("the image has no name that tells its registry: %w", ErrNotFound)
	}
	return r.q.Elsewhere(ctx, r.names[0])
}

func (r *resolver) childFrom(ctx context.Context, c Content, desc ocispec.Descriptor, depth int) (*node, error) {
	raw, err := r.fetch(ctx, c, desc)
	if err != nil {
		return nil, err
	}
	if !IsIndex(desc.MediaType) {
		return r.manifest(ctx, c, desc, raw)
	}
	kept, _, err := r.index(ctx, desc, raw, depth+1)
	if err != nil || len(kept) == 0 {
		return nil, err
	}
	return r.add(&node{Manifest: Manifest{Desc: desc, Raw: raw}, content: c}), nil
}

// add puts a node into the graph, once.
func (r *resolver) add(n *node) *node {
	if have := r.nodes[n.Desc.Digest]; have != nil {
		return have
	}
	r.nodes[n.Desc.Digest] = n
	r.order = append(r.order, n)
	return n
}
