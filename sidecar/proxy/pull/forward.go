package pull

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// Images that no filter changes go downstream once clients have them, and no more of
// them than clients have: to fetch all platforms of an index because one was pulled
// would cost upstream's patience and everybody's network.
//
//	image: all its blobs are here                → it is sent
//	index: all its images are here               → it is sent with them
//	       some of its images are here           → its bytes are sent, as the one blob of
//	                                               an artifact: another proxy finds the
//	                                               index by its digest, as a blob

// forwards is one image or index that is to go downstream.
type forwards struct {
	repository string
	got        found
	manifest   registry.Manifest
	tags       map[string]bool
	sent       bool
	failed     time.Time // when downstream did not take it; zero if it did
	partly     bool      // the bytes of an index are downstream
	busy       bool      // somebody is at it
	again      bool      // something came meanwhile
}

// forward notes that clients want an image downstream, perhaps under a tag.
func (u *upstream) forward(repository, tag string, got found) {
	if u.p.c.Keeper == nil {
		return
	}
	key := flightKey{repository, got.desc.Digest}
	u.mu.Lock()
	w, ok := u.wants.Get(key)
	if ok && (tag == "" || w.tags[tag]) && !u.mayResend(w.failed) { // nothing new
		u.mu.Unlock()
		return
	}
	if !ok {
		m, err := registry.ParseManifest(got.desc.MediaType, got.raw, got.desc.Digest.Algorithm())
		if err != nil {
			u.mu.Unlock()
			return // it was not kept either
		}
		w = &forwards{repository: repository, got: got, manifest: m, tags: map[string]bool{}}
		u.wants.Add(key, w)
	}
	if tag != "" {
		for _, other := range u.wants.Values() { // it may move back there
			if other.repository == repository {
				delete(other.tags, tag)
			}
		}
		w.tags[tag], w.sent = true, false
	}
	u.mu.Unlock()
	u.p.background(func(ctx context.Context) { u.attempt(ctx, w) })
}

// forwarded notes that an image came from downstream, and need not go there.
func (u *upstream) forwarded(repository string, got found) {
	u.mu.Lock()
	defer u.mu.Unlock()
	key := flightKey{repository, got.desc.Digest}
	m, err := registry.ParseManifest(got.desc.MediaType, got.raw, got.desc.Digest.Algorithm())
	if _, ok := u.wants.Peek(key); !ok && err == nil {
		u.wants.Add(key, &forwards{repository: repository, got: got, manifest: m, tags: map[string]bool{}, sent: true})
	}
}

// arrived goes on with the images of a repository that may be whole now.
func (u *upstream) arrived(key flightKey) {
	if u.p.c.Keeper == nil {
		return
	}
	u.mu.Lock()
	var open []*forwards
	for _, w := range u.wants.Values() {
		if w.repository == key.repository && !w.sent {
			open = append(open, w)
		}
	}
	u.mu.Unlock()
	if len(open) == 0 {
		return
	}
	u.p.background(func(ctx context.Context) {
		for _, w := range open {
			u.attempt(ctx, w)
		}
	})
}

// attempt sends an image downstream if it is whole.
func (u *upstream) attempt(ctx context.Context, w *forwards) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if w.again = w.busy; w.busy {
		return // who is at it looks again
	}
	w.busy = true
	defer func() { w.busy = false }()
	for again := true; again && !w.sent && ctx.Err() == nil; again = w.again {
		w.again = false
		tags := make([]string, 0, len(w.tags))
		for tag := range w.tags {
			tags = append(tags, tag)
		}
		partly := w.partly
		u.mu.Unlock()
		sent, partly, failed := u.forwardNow(ctx, w, tags, partly)
		u.mu.Lock()
		if w.failed = (time.Time{}); failed {
			w.failed = u.p.c.Now()
		}
		w.sent = sent && len(tags) == len(w.tags)
		w.again = w.again || sent && !w.sent
		w.partly = w.partly || partly
	}
}

func (u *upstream) forwardNow(ctx context.Context, w *forwards, tags []string, had bool) (sent, partly, failed bool) {
	whole, some, err := u.whole(ctx, w.repository, w.manifest, 0)
	index := pipeline.IsIndex(w.got.desc.MediaType)
	switch {
	case err != nil:
		u.warn("an image could not be looked through for downstream", err)
	case whole:
		src := registry.NewSource(u.mirror.Backend(), w.repository, registry.Ref{Digest: w.got.desc.Digest}, nil)
		sent = u.deliver(ctx, w.repository, tags, src)
		return sent, false, !sent
	case index && some && !had:
		partly = u.deliver(ctx, w.repository, []string{"occystrap-index-" + w.got.desc.Digest.Encoded()[:40]}, &listing{w.got})
		return false, partly, !partly
	}
	return false, false, err != nil
}

// whole says whether all, or some, of what a manifest names is in the mirror.
func (u *upstream) whole(ctx context.Context, repository string, m registry.Manifest, depth int) (all, some bool, err error) {
	b := u.mirror.Backend()
	all = true
	for _, d := range m.Blobs {
		if len(d.URLs) > 0 {
			continue
		}
		_, err := b.Blobs.Stat(ctx, repository, d.Digest)
		if err != nil && !errors.Is(err, pipeline.ErrNotFound) {
			return false, false, err
		}
		all, some = all && err == nil, some || err == nil
	}
	for _, d := range m.Entries {
		got, err := get(ctx, u.mirror, repository, d.Digest)
		if errors.Is(err, pipeline.ErrNotFound) || depth > 4 {
			all = false
			continue
		}
		if err != nil {
			return false, false, err
		}
		child, err := registry.ParseManifest(got.desc.MediaType, got.raw, got.desc.Digest.Algorithm())
		if err != nil {
			return false, false, err
		}
		childAll, _, err := u.whole(ctx, repository, child, depth+1)
		if err != nil {
			return false, false, err
		}
		all, some = all && childAll, some || childAll
	}
	return all, some, nil
}

// indexArtifact says what the artifact is that has an index as its blob.
const indexArtifact = "application/vnd.occystrap.index.v1"

// A listing is the bytes of an index as an artifact.
type listing struct{ index found }

var _ pipeline.Source = (*listing)(nil)

// Open makes the artifact.
func (l *listing) Open(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	raw, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: indexArtifact,
		Config: ocispec.DescriptorEmptyJSON, Layers: []ocispec.Descriptor{plain(l.index.desc)},
	})
	if err != nil {
		return nil, err
	}
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	c := few{desc.Digest: raw, ocispec.DescriptorEmptyJSON.Digest: ocispec.DescriptorEmptyJSON.Data, l.index.desc.Digest: l.index.raw}
	return pipeline.Resolve(ctx, c, []pipeline.Root{{Desc: desc}}, q, pipeline.ResolveOptions{}, nil)
}

// few are blobs in memory.
type few map[digest.Digest][]byte

var _ pipeline.Content = few{}

func (f few) Fetch(_ context.Context, desc ocispec.Descriptor) ([]byte, error) {
	if raw, ok := f[desc.Digest]; ok {
		return raw, nil
	}
	return nil, missing("blob " + desc.Digest.String())
}

func (f few) Holds(_ context.Context, desc ocispec.Descriptor) (bool, error) {
	_, ok := f[desc.Digest]
	return ok, nil
}

func (f few) Open(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	raw, err := f.Fetch(ctx, desc)
	return io.NopCloser(bytes.NewReader(raw)), err
}
