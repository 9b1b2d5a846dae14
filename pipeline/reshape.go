package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Reshaper is a filter that gives images other layers than the source has.
// Filters that stand before it in the chain see the images as they were, those
// behind it as they are then.
type Reshaper interface {
	Filter
	// Reshape says what becomes of the layers of images; nil: they stay. It is
	// called once, before the first layer moves. Done, which may be nil, gives back
	// what the new layers need, and is called when nobody opens them any more; after
	// an error it is not called.
	Reshape(ctx context.Context, images []Reshapable, o Options) (shapes []*Shape, done func() error, err error)
}

// A Reshapable is an image with its layers, the lowest first.
type Reshapable struct {
	Manifest Manifest
	Layers   []Layer
}

// A Shape is an image whose upper layers became one.
type Shape struct {
	// Keep is how many of the lowest layers stay as they are.
	Keep int
	// Layer takes the place of the others: the digest and size of a plain tar, which
	// is its diff ID, how to open it, and how it was stored before. The rest is
	// filled in.
	Layer Layer
	// Read is how many stored bytes of the source were read for it.
	Read int64
	// CreatedBy is what the history says of it.
	CreatedBy string
}

// reshape lets the first Reshaper of the filters have its way with a graph.
func (r *run) reshape(ctx context.Context, graph Graph) (Graph, error) {
	f, at := reshaper(r.filters)
	if at < 0 {
		return graph, nil
	}
	l, err := listGraph(ctx, graph)
	if err != nil {
		return graph, err
	}
	var images []Reshapable
	var where []int // of l.manifests
	for i, m := range l.manifests {
		uses, image, err := l.uses(m, r.opts.Query)
		if err != nil {
			return graph, err
		}
		if image {
			images, where = append(images, Reshapable{m, uses}), append(where, i)
		}
	}
	shapes, done, err := f.Reshape(ctx, images, r.opts)
	if err != nil {
		return graph, on(FilterSide, err)
	}
	r.reshaped = map[digest.Digest]digest.Digest{}
	for i, s := range shapes {
		if s == nil {
			continue
		}
		m, config, err := s.manifest(images[i])
		if err != nil {
			return graph, errors.Join(on(FilterSide, fmt.Errorf("manifest %s: %w", images[i].Manifest.Desc.Digest, err)), closed(done))
		}
		l.manifests[where[i]], r.reshaped[m.Desc.Digest] = m, config
		r.report.Read += s.Read
		images[i].Layers = append(slices.Clip(images[i].Layers[:s.Keep]), s.layer(images[i]))
	}
	return l.graph(l.reshaped(where, images, r.opts.Query), func() error { return errors.Join(closed(done), graph.Close()) }), nil
}

func closed(done func() error) error {
	if done == nil {
		return nil
	}
	return done()
}

// reshaper is the first Reshaper of a chain and its place; -1: there is none.
func reshaper(filters []Filter) (Reshaper, int) {
	for i, f := range filters {
		if f, ok := f.(Reshaper); ok {
			return f, i
		}
	}
	return nil, -1
}

// reshaped are the layers of all manifests, each use once.
func (l listing) reshaped(where []int, images []Reshapable, q Query) (layers []Layer) {
	seen := map[layerKey]bool{}
	for i, m := range l.manifests {
		var uses []Layer
		if at, ok := slices.BinarySearch(where, i); ok {
			uses = images[at].Layers
		} else {
			uses, _, _ = l.uses(m, q) // it was read before
		}
		for _, use := range uses {
			if k := keyOf(use, true); !seen[k] {
				seen[k] = true
				layers = append(layers, use)
			}
		}
	}
	return layers
}

// layer is the new layer upon those that stay.
func (s *Shape) layer(image Reshapable) Layer {
	l := s.Layer
	l.madeOf = fmt.Sprintf("made of %d layers", len(image.Layers)-s.Keep)
	l.Role, l.Parents = FileSystem, slices.Clip(image.Layers[:s.Keep])
	l.Blob.MediaType = layerType(dockerFamily(image.Manifest.Desc.MediaType), Plain)
	return l
}

// manifest is that of the image as if the source had it so, but for its name:
// Desc says what the source calls it, so that all that speaks of it is brought up
// to date as for any image that changes. Config is what its config was called.
func (s *Shape) manifest(image Reshapable) (m Manifest, config digest.Digest, err error) {
	m = image.Manifest
	l := s.layer(image)
	if m.Config, err = EditJSON(m.Config, func(o *Object) error { return s.config(o, len(image.Layers), l.DiffID) }); err != nil {
		return m, "", fmt.Errorf("config: %w", err)
	}
	m.Raw, err = EditJSON(m.Raw, func(o *Object) error {
		layers, err := objects(o.Get("layers"))
		if err != nil {
			return err
		}
		fresh, err := ParseObject([]byte("{}"))
		if err != nil {
			return err
		}
		if err := setDescriptor(fresh, l.Blob); err != nil {
			return err
		}
		if err := o.setObjects("layers", len(layers), append(slices.Clip(layers[:s.Keep]), fresh)); err != nil {
			return err
		}
		desc, err := ParseObject(o.Get("config"))
		if err != nil {
			return err
		}
		was := ocispec.Descriptor{}
		if err := json.Unmarshal(desc.Bytes(), &was); err != nil {
			return err
		}
		config = was.Digest
		was.Digest, was.Size = digest.FromBytes(m.Config), int64(len(m.Config))
		if err := setDescriptor(desc, was); err != nil {
			return err
		}
		return o.Set("config", desc)
	})
	return m, config, err
}

// config gives an image's config the diff IDs and the history of its new layers.
func (s *Shape) config(o *Object, layers int, diffID digest.Digest) error {
	rootfs, err := ParseObject(o.Get("rootfs"))
	if err != nil {
		return fmt.Errorf("rootfs: %w", err)
	}
	var ids []digest.Digest
	if err := json.Unmarshal(rootfs.Get("diff_ids"), &ids); err != nil {
		return fmt.Errorf("rootfs: %w", err)
	}
	if len(ids) != layers {
		return fmt.Errorf("%d diff IDs for %d layers", len(ids), layers)
	}
	if err := rootfs.Set("diff_ids", append(ids[:s.Keep:s.Keep], diffID)); err != nil {
		return err
	}
	if err := o.Set("rootfs", rootfs); err != nil {
		return err
	}
	return s.history(o, layers)
}

// history puts one entry in the place of the last of those whose layers became
// one. Entries that made no layer stay: they say how the image came about. A
// history that does not fit the layers is left as it is, wrong as it was.
func (s *Shape) history(o *Object, layers int) error {
	raw := o.Get("history")
	if raw == nil || string(raw) == "null" {
		return nil
	}
	entries, err := objects(raw)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	made := func(h *Object) bool { return string(h.Get("empty_layer")) != "true" }
	n := 0
	for _, h := range entries {
		if made(h) {
			n++
		}
	}
	if n != layers {
		return nil
	}
	var now []*Object
	at := 0
	for _, h := range entries {
		if !made(h) || at < s.Keep {
			now = append(now, h)
		}
		if !made(h) {
			continue
		}
		if at++; at < layers || s.Keep >= layers {
			continue
		}
		fresh, err := ParseObject([]byte("{}"))
		if err != nil {
			return err
		}
		if created := h.Get("created"); created != nil {
			if err := fresh.Set("created", created); err != nil {
				return err
			}
		}
		if err := fresh.Set("created_by", s.CreatedBy); err != nil {
			return err
		}
		now = append(now, fresh)
	}
	return o.setObjects("history", len(entries), now)
}
