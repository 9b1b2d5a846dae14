package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// oneImage finds the image of an index, or of indexes within it, that fits the
// wanted platform best, and adds it alone.
func (r *resolver) oneImage(ctx context.Context, desc ocispec.Descriptor, raw []byte) (*node, error) {
	children, err := parseIndex(desc, raw)
	if err != nil {
		return nil, r.q.faulty(FaultManifestFormat, desc.Digest, err)
	}
	r.q.listed(desc, raw)
	images, err := r.images(ctx, children, 0)
	if err != nil {
		return nil, err
	}
	best, ok := bestMatch(images, r.wanted()[0])
	if !ok && len(images) == 1 && !r.explicit() {
		best, ok = images[0], true
		r.q.Events.Warn(fmt.Sprintf("it has one image only, for %s", describe(best)))
	}
	if !ok {
		return nil, noMatch(r.wanted(), images)
	}
	if len(images) > 1 && !r.explicit() && r.q.Capacity.Platform != nil {
		r.q.Events.Warn(fmt.Sprintf("%s: the destination holds one image under a name; of %s it gets %s",
			Root{Names: r.names, Desc: desc}.name(), list(images), describe(best)))
	}
	n, err := r.child(ctx, best, 0)
	if n == nil && err == nil && r.q.Faults != nil {
		return nil, errFaulty
	}
	if n == nil && err == nil {
		err = fmt.Errorf("%s: %w", describe(best), ErrNotFound)
	}
	return n, err
}

// images lists the images of an index with their platforms. An entry without a
// platform is asked for its config.
func (r *resolver) images(ctx context.Context, children []ocispec.Descriptor, depth int) ([]ocispec.Descriptor, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("indexes nested deeper than %d: %w", maxDepth, ErrLimit)
	}
	var out []ocispec.Descriptor
	for _, c := range children {
		_, isAttestation := attestationOf(c)
		switch {
		case isAttestation || c.Platform != nil && c.Platform.OS == "unknown":
		case IsIndex(c.MediaType):
			raw, err := r.fetch(ctx, r.content, c)
			if err != nil {
				return nil, err
			}
			inner, err := parseIndex(c, raw)
			if err != nil {
				return nil, err
			}
			r.q.listed(c, raw)
			nested, err := r.images(ctx, inner, depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, nested...)
		case c.Platform != nil:
			out = append(out, c)
		default:
			if p, err := r.platformOf(ctx, c); err != nil {
				return nil, err
			} else if p != nil {
				c.Platform = p
				out = append(out, c)
			}
		}
	}
	return out, nil
}

// platformOf reads an image's platform from its config; nil for an artifact.
func (r *resolver) platformOf(ctx context.Context, desc ocispec.Descriptor) (*ocispec.Platform, error) {
	raw, err := r.fetch(ctx, r.content, desc)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(desc, raw)
	if err == nil {
		err = m.typeFault(desc)
	}
	if err != nil || !isImageConfig(m.Config.MediaType) {
		return nil, err
	}
	config, err := r.blob(ctx, r.content, "config", m.Config, desc.Digest)
	if err != nil {
		return nil, err
	}
	c, image, faults := readImageConfig(m, config)
	if len(faults) > 0 || !image || c.OS == "" {
		return nil, firstOf(faults)
	}
	return &c.Platform, nil
}

// bestMatch picks the image that fits best by containerd's rules; of equals,
// the first.
func bestMatch(images []ocispec.Descriptor, want ocispec.Platform) (best ocispec.Descriptor, ok bool) {
	m := platforms.Only(want)
	for _, c := range images {
		p := platforms.Normalize(*c.Platform)
		if m.Match(p) && (!ok || m.Less(p, platforms.Normalize(*best.Platform))) {
			best, ok = c, true
		}
	}
	return best, ok
}

func noMatch(want []ocispec.Platform, images []ocispec.Descriptor) error {
	have := list(images)
	if have == "" {
		have = "no image at all"
	}
	return fmt.Errorf("no image for %s: %w; it has %s (choose one with --platform)",
		Platforms{Want: want}, ErrNoPlatform, have)
}

// list names the platforms of images.
func list(images []ocispec.Descriptor) string {
	var s []string
	for _, c := range images {
		s = append(s, describe(c))
	}
	return strings.Join(s, ", ")
}

// chooseSeveral says which entries of an index are wanted: all, or the best one
// for each wanted platform with what belongs to it.
func (r *resolver) chooseSeveral(ctx context.Context, children []ocispec.Descriptor) (func(ocispec.Descriptor) bool, error) {
	want := r.wanted()
	if len(want) == 0 {
		return func(ocispec.Descriptor) bool { return true }, nil
	}
	direct := slices.DeleteFunc(slices.Clone(children), func(c ocispec.Descriptor) bool { return IsIndex(c.MediaType) })
	images, err := r.images(ctx, direct, 0)
	if err != nil {
		return nil, err
	}
	chosen := map[digest.Digest]bool{}
	for _, p := range want {
		best, ok := bestMatch(images, p)
		if !ok && len(direct) == len(children) {
			return nil, noMatch([]ocispec.Platform{p}, images)
		}
		if ok {
			chosen[best.Digest] = true
		}
	}
	return func(c ocispec.Descriptor) bool {
		_, isAttestation := attestationOf(c)
		return isAttestation || IsIndex(c.MediaType) || chosen[c.Digest]
	}, nil
}

// checkPlatform refuses a single image of another platform than the user
// named, and only says so where nobody named one.
func (r *resolver) checkPlatform(n *node) error {
	want := r.wanted()
	p := n.Desc.Platform
	if len(want) == 0 || !n.image || p == nil {
		return nil
	}
	fits := func(w ocispec.Platform) bool { return platforms.Only(w).Match(platforms.Normalize(*p)) }
	if slices.ContainsFunc(want, fits) {
		return nil
	}
	if r.explicit() {
		return noMatch(want, []ocispec.Descriptor{n.Desc})
	}
	r.q.Events.Warn(fmt.Sprintf("%s is an image for %s", Root{Names: r.names, Desc: n.Desc}.name(), describe(n.Desc)))
	return nil
}
