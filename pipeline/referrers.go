package pipeline

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Referring is Content that can tell what refers to a manifest: signatures,
// SBOMs, attestations that no index lists.
type Referring interface {
	Content
	// Referrers lists what refers to a manifest. The list is a claim: Resolve
	// reads each manifest and looks what it speaks of. No more are listed than
	// Limits.Manifests.
	Referrers(ctx context.Context, subject digest.Digest) ([]Referrer, error)
}

// A Referrer is a manifest that may refer to another one.
type Referrer struct {
	// Desc describes the manifest; Data may hold its bytes.
	Desc ocispec.Descriptor
	// Tag is the tag that ties it to its subject, as cosign's do (CosignTags);
	// "" where the manifest itself names its subject.
	Tag string
}

// A Referral is what a referrer speaks of, and the tag that ties them together
// ("" where the manifest does).
type Referral struct {
	Subject digest.Digest
	Tag     string
}

const (
	// maxReferrerDepth bounds referrers of referrers. The signature of a report
	// about an SBOM is at the third level.
	maxReferrerDepth = 4
	// listedAtOnce is for how many manifests referrers are asked for at once.
	listedAtOnce = 4
)

// referrers adds what refers to the manifests of the graph, and to those in
// turn: each behind what it speaks of.
func (r *resolver) referrers(ctx context.Context) error {
	if !r.q.Referrers {
		return nil
	}
	level := slices.Clone(r.order)
	for depth := 0; len(level) > 0; depth++ {
		found, err := r.listReferrers(ctx, level)
		if err != nil {
			return err
		}
		have := len(r.order)
		for i, subject := range level {
			for _, ref := range found[i] {
				if depth == maxReferrerDepth {
					return fmt.Errorf("referrers of referrers deeper than %d: %w", maxReferrerDepth, ErrLimit)
				}
				if err := r.referrer(ctx, subject, ref); err != nil {
					return fmt.Errorf("referrer %s of %s: %w", ref.Desc.Digest, describe(subject.Desc), err)
				}
			}
		}
		level = slices.Clone(r.order[have:])
	}
	return nil
}

// listReferrers asks for the referrers of each manifest.
func (r *resolver) listReferrers(ctx context.Context, level []*node) ([][]Referrer, error) {
	found := make([][]Referrer, len(level))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(listedAtOnce)
	for i, n := range level {
		c, ok := n.content.(Referring)
		if !ok {
			continue
		}
		group.Go(func() (err error) {
			found[i], err = c.Referrers(ctx, n.Desc.Digest)
			if err != nil {
				return fmt.Errorf("list what refers to %s: %w", describe(n.Desc), err)
			}
			// Lists come in any order; the same input gives the same archive.
			slices.SortFunc(found[i], func(a, b Referrer) int {
				return cmp.Or(cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.Desc.Digest, b.Desc.Digest))
			})
			return nil
		})
	}
	return found, group.Wait()
}

// referrer adds one referrer, if it is what it is said to be.
func (r *resolver) referrer(ctx context.Context, subject *node, ref Referrer) error {
	of := Referral{Subject: subject.Desc.Digest, Tag: ref.Tag}
	have := r.nodes[ref.Desc.Digest]
	if have != nil && have.Refers == nil {
		return nil // an attestation that its index lists, and that comes with it
	}
	desc := ocispec.Descriptor{MediaType: ref.Desc.MediaType, Digest: ref.Desc.Digest, Size: ref.Desc.Size, Data: ref.Desc.Data}
	if !IsManifest(desc.MediaType) && !IsIndex(desc.MediaType) {
		return r.leaveOut(subject, ref, fmt.Sprintf("its type is %q", desc.MediaType))
	}
	raw, err := r.fetch(ctx, subject.content, desc)
	if errors.Is(err, ErrNotFound) && r.q.Missing != MissingFail {
		return r.leaveOut(subject, ref, "it is listed and not here")
	}
	if err != nil {
		return err
	}
	desc.Data, desc.Size = nil, int64(len(raw))
	speaks, err := r.speaksOf(ctx, subject.content, desc, raw, of)
	switch {
	case err != nil:
	case !speaks:
		return r.leaveOut(subject, ref, "it speaks of something else")
	case have != nil:
		if !slices.Contains(have.Refers, of) { // lists name some twice
			have.Refers = append(have.Refers, of)
		}
		return nil
	default:
		err = r.addReferrer(ctx, subject.content, desc, raw, of)
	}
	if errors.Is(err, ErrNotFound) && r.q.Missing != MissingFail {
		return r.leaveOut(subject, ref, "a blob of it is not here")
	}
	return err
}

func (r *resolver) leaveOut(subject *node, ref Referrer, why string) error {
	r.q.Events.Warn(fmt.Sprintf("referrer %s of %s is left out: %s", ref.Desc.Digest, describe(subject.Desc), why))
	return nil
}

// addReferrer adds a referrer, and what an index among them lists.
func (r *resolver) addReferrer(ctx context.Context, c Content, desc ocispec.Descriptor, raw []byte, of Referral) error {
	var fields struct {
		ArtifactType string             `json:"artifactType"`
		Config       ocispec.Descriptor `json:"config"`
		Annotations  map[string]string  `json:"annotations"`
	}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return err
	}
	have := len(r.order)
	var n *node
	var err error
	if IsIndex(desc.MediaType) {
		was := r.q.Platforms
		r.q.Platforms = Platforms{All: true} // a choice among the images of the name says nothing of these
		_, _, err = r.index(ctx, desc, raw, 0)
		r.q.Platforms = was
		if err == nil {
			n = r.add(&node{Manifest: Manifest{Desc: desc, Raw: raw}, content: c})
		}
	} else {
		n, err = r.manifest(ctx, c, desc, raw)
	}
	if err != nil {
		return err
	}
	// As a registry lists it (distribution-spec, "Listing Referrers").
	n.Desc.ArtifactType, n.Desc.Annotations = fields.ArtifactType, fields.Annotations
	if n.Desc.ArtifactType == "" && fields.Config.MediaType != "" {
		n.Desc.ArtifactType = fields.Config.MediaType
	}
	for _, child := range r.order[have:] {
		child.Refers = []Referral{{Subject: of.Subject}}
	}
	n.Refers = []Referral{of}
	return nil
}

// speaksOf says whether a manifest is about what it is said to be about.
func (r *resolver) speaksOf(ctx context.Context, c Content, desc ocispec.Descriptor, raw []byte, of Referral) (bool, error) {
	if of.Tag != "" {
		return r.isCosigns(ctx, c, desc, raw, of)
	}
	subject, err := SubjectOf(raw)
	return subject == of.Subject, err
}

// SubjectOf is what a manifest says that it refers to; "" for nothing.
func SubjectOf(raw []byte) (digest.Digest, error) {
	o, err := ParseObject(raw)
	if err != nil {
		return "", err
	}
	var subject ocispec.Descriptor
	if s := o.Get("subject"); s != nil {
		err = json.Unmarshal(s, &subject)
	}
	return subject.Digest, err
}

// withoutReferrers is the roots of a layout without those that only speak of
// something else which the layout holds. They come along where they are asked
// for, as those of a registry do.
func (r *resolver) withoutReferrers(ctx context.Context, roots []Root) ([]Root, error) {
	if len(roots) < 2 || r.q.Faults != nil || r.q.Brief || r.q.looks {
		return roots, nil
	}
	var out []Root
	for _, root := range roots {
		subject := cmp.Or(root.lists(), r.subjectOfRoot(ctx, root))
		held := false
		if subject != "" && subject != root.Desc.Digest {
			var err error
			if held, err = r.content.Holds(ctx, ocispec.Descriptor{Digest: subject}); err != nil {
				return nil, err
			}
		}
		if !held {
			out = append(out, root)
		}
	}
	if len(out) == 0 {
		return roots, nil
	}
	if len(out) < len(roots) && !r.q.Referrers {
		r.q.Events.Warn("what refers to images (signatures and the like) is left out; --referrers brings it along")
	}
	return out, nil
}

// subjectOfRoot is what a root speaks of; "" for nothing. One that cannot be
// read is an image: whoever reads it then says why.
func (r *resolver) subjectOfRoot(ctx context.Context, root Root) digest.Digest {
	if of := root.cosigns(); len(of) > 0 {
		return of[0].Subject
	}
	if len(root.Names) > 0 || root.Desc.Digest.Validate() != nil {
		return ""
	}
	raw, err := r.blob(ctx, r.content, "manifest", root.Desc, root.Desc.Digest)
	if err != nil {
		return ""
	}
	subject, err := SubjectOf(raw)
	if err != nil || subject.Validate() != nil {
		return ""
	}
	return subject
}
