package filter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// baseAuto is the value of the option base that leaves it to us to find it.
const baseAuto = "auto"

// baseOption is an option of filters that leave the base image alone.
var baseOption = pipeline.Option{Name: "base", Help: "the base image, whose layers stay: auto, a reference or a URI"}

// A baseSearch finds out which of the lowest layers of images are those of the
// images that they were built from.
//
//	REF    what the user names: its layers must be the lowest ones
//	auto   what the image's annotations name, if its layers are; else what the
//	       image shares with it; else what the image's history says
type baseSearch struct {
	ref    string // "": nobody wants to know
	images func(ctx context.Context, ref string, q pipeline.Query) ([]pipeline.Manifest, error)
	known  map[string][]baseImage // what was fetched, by reference and platform
}

func newBaseSearch(d Defaults, o pipeline.FilterOptions) (*baseSearch, error) {
	ref, given := o[baseOption.Name]
	if given && ref == "" {
		return nil, pipeline.Usage("filter option base is empty; it takes auto, a reference or a URI, as in base=docker.io/library/alpine:3.20")
	}
	return &baseSearch{ref: ref, images: d.Images, known: map[string][]baseImage{}}, nil
}

// wanted says whether the option is given.
func (b *baseSearch) wanted() bool { return b.ref != "" }

// key is the part of a recipe that names the option; "" without it.
func (b *baseSearch) key() string {
	if !b.wanted() {
		return ""
	}
	return ",base=" + b.ref
}

// A baseImage is what counts of an image, built or base.
type baseImage struct {
	config struct {
		RootFS struct {
			DiffIDs []digest.Digest `json:"diff_ids"`
		} `json:"rootfs"`
		Config struct {
			Labels map[string]string `json:"Labels"`
		} `json:"config"`
		History []ocispec.History `json:"history"`
	}
	notes    map[string]string // annotations and labels
	platform *ocispec.Platform
	name     string // for messages
}

func (i baseImage) layers() []digest.Digest { return i.config.RootFS.DiffIDs }

// A foundBase is the base of one image.
type foundBase struct {
	pipeline.Base
	history int // entries of the image's history that are the base's
	entries int // all entries of the image's history
}

// whole says whether the image is nothing but its base.
func (f foundBase) whole(layers int) bool {
	return f.Layers == layers && f.history == f.entries
}

// find looks for the base of every image. An image whose base cannot be told is
// an error: to take a guess would change what must not change.
func (b *baseSearch) find(ctx context.Context, manifests []pipeline.Manifest) (map[digest.Digest]foundBase, error) {
	found := map[digest.Digest]foundBase{}
	names := pipeline.NamesOf(manifests)
	for _, m := range manifests {
		if !pipeline.IsImage(m) {
			continue
		}
		image, err := readBaseImage(m, names[m.Desc.Digest])
		if err != nil {
			return nil, err
		}
		f, err := b.of(ctx, image)
		if err != nil {
			return nil, fmt.Errorf("base image of %s: %w", image.name, err)
		}
		found[m.Desc.Digest] = f
	}
	return found, nil
}

// of finds the base of one image.
func (b *baseSearch) of(ctx context.Context, image baseImage) (foundBase, error) {
	if b.ref != baseAuto {
		return b.named(ctx, image, b.ref)
	}
	if f, ok, err := b.annotated(ctx, image); ok || err != nil {
		return f, err
	}
	if f, ok := baseByHistory(image); ok {
		return f, nil
	}
	return foundBase{}, pipeline.Usage("neither annotations nor history tell it; name it, as in base=docker.io/library/alpine:3.20")
}

// named is the base that the user named.
func (b *baseSearch) named(ctx context.Context, image baseImage, ref string) (foundBase, error) {
	candidates, err := b.fetch(ctx, ref, image.platform)
	if err != nil {
		return foundBase{}, fmt.Errorf("read %s: %w", ref, err)
	}
	if f, ok := lowestOf(image, candidates, ref); ok {
		return f, nil
	}
	return foundBase{}, pipeline.Usage("the layers of %s are not its lowest ones; name the image that it was built from, by its digest if the tag has moved on", ref)
}

// annotated is the base that the annotations name, or what the image shares with
// it. Whoever made the image wrote them: they are believed only so far as the
// diff IDs agree. An image that is gone is nothing to go by; one that cannot be
// read is an error, since the same run at another time would give another image.
func (b *baseSearch) annotated(ctx context.Context, image baseImage) (f foundBase, ok bool, err error) {
	var fetched []baseImage
	for _, ref := range annotatedRefs(image.notes) {
		candidates, err := b.fetch(ctx, ref, image.platform)
		var usage *pipeline.UsageError
		if errors.Is(err, pipeline.ErrNotFound) || errors.As(err, &usage) {
			continue
		}
		if err != nil {
			return f, false, fmt.Errorf("read %s, which its annotations name: %w (name the base with base=REF)", ref, err)
		}
		if f, ok := lowestOf(image, candidates, ref); ok {
			return f, true, nil
		}
		fetched = append(fetched, candidates...)
	}
	f, ok = sharedBase(image, fetched)
	return f, ok, nil
}

// fetch reads the manifests of a base image for a platform, once.
func (b *baseSearch) fetch(ctx context.Context, ref string, platform *ocispec.Platform) ([]baseImage, error) {
	if b.images == nil {
		return nil, errors.New("this program opens no other images")
	}
	q := pipeline.Query{Platforms: pipeline.Platforms{All: platform == nil}}
	key := ref
	if platform != nil {
		q.Platforms.Want = []ocispec.Platform{*platform}
		key += " " + q.Platforms.String()
	}
	if have, ok := b.known[key]; ok {
		return have, nil
	}
	manifests, err := b.images(ctx, ref, q)
	if err != nil {
		return nil, err
	}
	var out []baseImage
	for _, m := range manifests {
		if m.Config == nil { // an index
			continue
		}
		if image, err := readBaseImage(m, []string{ref}); err == nil && len(image.layers()) > 0 {
			out = append(out, image)
		}
	}
	b.known[key] = out
	return out, nil
}

// readBaseImage reads what counts of an image.
func readBaseImage(m pipeline.Manifest, names []string) (baseImage, error) {
	i := baseImage{notes: map[string]string{}, platform: m.Desc.Platform, name: m.Desc.Digest.String()}
	if len(names) > 0 {
		i.name = names[0]
	}
	if m.Desc.Platform != nil {
		i.name += " (" + pipeline.Platforms{Want: []ocispec.Platform{*m.Desc.Platform}}.String() + ")"
	}
	if err := json.Unmarshal(m.Config, &i.config); err != nil {
		return i, fmt.Errorf("config of %s: %w", i.name, err)
	}
	var manifest struct {
		Annotations map[string]string `json:"annotations"`
	}
	if m.Raw != nil {
		if err := json.Unmarshal(m.Raw, &manifest); err != nil {
			return i, fmt.Errorf("manifest of %s: %w", i.name, err)
		}
	}
	for _, notes := range []map[string]string{i.config.Config.Labels, m.Desc.Annotations, manifest.Annotations} {
		maps.Copy(i.notes, notes)
	}
	return i, nil
}

// lowestOf is the base among candidates: all its layers are the lowest ones of the
// image. Of several it is the one that reaches highest.
func lowestOf(image baseImage, candidates []baseImage, ref string) (best foundBase, ok bool) {
	for _, c := range candidates {
		n := len(c.layers())
		if n > best.Layers && n <= len(image.layers()) && slices.Equal(image.layers()[:n], c.layers()) {
			best, ok = newFoundBase(image, n, c.config.History, ref), true
		}
	}
	return best, ok
}
