package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"

	"github.com/occystrap/occystrap/pipeline"
)

// An Item is an image of the store: a manifest or index that has a tag, or that no other
// one names.
type Item struct {
	Space      string        `json:"space"`
	Repository string        `json:"repository"`
	Tags       []string      `json:"tags,omitempty"`
	Digest     digest.Digest `json:"digest"`
	MediaType  string        `json:"mediaType"`
	// Size is that of all its blobs and manifests, in bytes; other images may share them.
	Size int64 `json:"size"`
	// Used is when it was last put, described or read.
	Used   time.Time `json:"used"`
	Pinned bool      `json:"pinned"`
}

// Names are the full names of an image: SPACE/REPOSITORY:TAG for each tag, and
// SPACE/REPOSITORY@DIGEST.
func (i Item) Names() []string {
	var names []string
	for _, t := range i.Tags {
		names = append(names, i.Space+"/"+i.Repository+":"+t)
	}
	return append(names, i.Space+"/"+i.Repository+"@"+i.Digest.String())
}

// Usage is how full a store is.
type Usage struct {
	// Bytes are on disk, those that arrive included; High and Low are the marks.
	Bytes int64 `json:"bytes"`
	High  int64 `json:"high,omitempty"`
	Low   int64 `json:"low,omitempty"`
	// Images, Blobs and Repositories count what is there; a blob counts once.
	Images       int `json:"images"`
	Blobs        int `json:"blobs"`
	Repositories int `json:"repositories"`
	// Pinned is what pinned images have.
	Pinned int64 `json:"pinned"`
}

// List returns the images in the order of space, repository and first tag.
func (s *Store) List(ctx context.Context) ([]Item, error) {
	m, err := s.lookAt(ctx)
	if err != nil {
		return nil, err
	}
	items := make([]Item, 0)
	for _, i := range m.images(nil) {
		items = append(items, i.item(m))
	}
	slices.SortStableFunc(items, func(a, b Item) int {
		return cmp.Or(strings.Compare(a.Space, b.Space), strings.Compare(a.Repository, b.Repository), slices.Compare(a.Tags, b.Tags), cmp.Compare(a.Digest, b.Digest))
	})
	return items, nil
}

// lookAt is the store as it is now.
func (s *Store) lookAt(ctx context.Context) (*model, error) {
	if s.closed.Load() {
		return nil, errClosed
	}
	if err := s.flush(ctx); err != nil {
		return nil, err
	}
	return s.model(ctx)
}

func (i *image) item(m *model) Item {
	item := Item{
		Space: i.r.space, Repository: i.r.repository, Digest: i.root, MediaType: i.r.manifests[i.root].Desc.MediaType, Used: i.used, Pinned: i.pinned,
	}
	for _, t := range slices.Sorted(maps.Keys(i.r.tags)) {
		if i.r.tags[t] == i.root {
			item.Tags = append(item.Tags, t)
		}
	}
	for d := range i.all {
		item.Size += m.sizes[d]
	}
	return item
}

// Usage counts what is there.
func (s *Store) Usage(ctx context.Context) (Usage, error) {
	if err := s.wait(ctx); err != nil { // until the bytes are counted
		return Usage{}, err
	}
	m, err := s.lookAt(ctx)
	if err != nil {
		return Usage{}, err
	}
	u := Usage{Bytes: s.bytes.Load(), High: s.o.High, Low: s.o.Low, Blobs: len(m.sizes)}
	repositories, pinned := map[place]bool{}, map[digest.Digest]bool{}
	for _, r := range m.repos {
		repositories[r.place] = true
	}
	for _, i := range m.images(nil) {
		u.Images++
		for d := range i.all {
			if i.pinned && !pinned[d] {
				pinned[d] = true
				u.Pinned += m.sizes[d]
			}
		}
	}
	u.Repositories = len(repositories)
	return u, nil
}

// Answers says why nothing can be found in the store; nil if it can. It costs the same
// however much there is.
func (s *Store) Answers() error {
	if s.closed.Load() {
		return errClosed
	}
	for _, base := range []*base{s.durable, s.cache} {
		if err := base.bolt.View(func(*bbolt.Tx) error { return nil }); err != nil {
			return fmt.Errorf("read what is in the store: %w", err)
		}
	}
	return nil
}

// Bytes is what the store has on disk, as it is known without looking.
func (s *Store) Bytes() int64 { return s.bytes.Load() }

// Pin keeps an image whatever the marks and ages say. The name is one of Item.Names, or
// the end of one from a slash on: "alpine:3.20" will do where only one image has
// that. A tag stays pinned when it moves. The image's full name is returned.
func (s *Store) Pin(ctx context.Context, name string) (string, error) {
	return s.pin(ctx, name, true)
}

// Unpin has the image go like others.
func (s *Store) Unpin(ctx context.Context, name string) (string, error) {
	return s.pin(ctx, name, false)
}

func (s *Store) pin(ctx context.Context, name string, on bool) (string, error) {
	m, err := s.lookAt(ctx)
	if err != nil {
		return "", err
	}
	t, err := m.named(name)
	if err != nil {
		return "", err
	}
	key := []byte(t.namespace() + " " + t.ref)
	return t.full, s.durable.update(ctx, "", func(_ context.Context, tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucketPins)
		if err != nil {
			return err
		}
		if !on {
			if b.Get(key) == nil {
				return &toldError{t.full + " is not pinned", pipeline.ErrNotFound}
			}
			return b.Delete(key)
		}
		return b.Put(key, stamp(s.o.Now()))
	})
}

// A named thing is an image by one of its names.
type named struct {
	place
	ref, full string
}

// named finds what a name means; pins without an image count too.
func (m *model) named(name string) (named, error) {
	found := map[string]named{}
	try := func(p place, separator, ref string) {
		full := p.space + "/" + p.repository + separator + ref
		if full == name || strings.HasSuffix(full, "/"+name) {
			found[full] = named{p, ref, full}
		}
	}
	for _, r := range m.repos {
		for t := range r.tags {
			try(r.place, ":", t)
		}
		for d := range r.manifests {
			try(r.place, "@", d.String())
		}
		for ref := range r.pins {
			separator := ":"
			if digest.Digest(ref).Validate() == nil {
				separator = "@"
			}
			try(r.place, separator, ref)
		}
	}
	names := slices.Sorted(maps.Keys(found))
	switch len(names) {
	case 0:
		return named{}, fmt.Errorf("image %s: %w; names are those of \"occystrap store ls\"", name, pipeline.ErrNotFound)
	case 1:
		return found[names[0]], nil
	}
	if exact, ok := found[name]; ok {
		return exact, nil
	}
	return named{}, errors.New(name + " may be " + strings.Join(names, " or ") + "; write more of the name")
}
