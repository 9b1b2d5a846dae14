package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/spool"
)

// An Inbox is a Backend by which a push becomes an image source.
//
//	PUT blob ─▶ temporary file ─▶ Layer, at once ─▶ Graph ◀─ Resolve ◀─ PUT manifests
//
// It takes the push of one repository: what it has, it has under every name. Each
// finished upload is a layer of the graph. What the push was for is told by the
// manifests that come by a tag; that it has ended, by whoever asked for it (End).
type Inbox struct {
	o InboxOptions

	mu        sync.Mutex
	blobs     map[digest.Digest]*spool.File
	uploads   map[string]*spool.File
	manifests map[digest.Digest]Manifest
	came      []digest.Digest // manifests, in their order
	tags      map[string]digest.Digest
	order     []string         // of tags, as they came first
	early     []pipeline.Layer // what has come before anybody wanted the graph
	graph     *pipeline.Arriving
	quiet     bool  // the graph wants manifests first
	size      int64 // of blobs, in bytes
	ended     bool
	err       error
	closed    bool
}

// InboxOptions are what an Inbox is told by its owner; the zero value works.
type InboxOptions struct {
	// TempDir holds what arrives; "" is the system's directory.
	TempDir string
	// Held answers for blobs that need not be sent, with their size in bytes: the
	// client takes the size from our answer. nil: everything is sent.
	Held func(ctx context.Context, d digest.Digest) (size int64, held bool)
	// Open reads a blob that Held answered for.
	Open func(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error)
	// Received is told of each manifest that has come, by tags or by its digest
	// alone. What it returns is the client's answer; nil accepts.
	Received func(ctx context.Context, m Manifest, tags []string) error
}

// NewInbox returns an Inbox that nothing has come to. Who closes it is the caller,
// once the graph is closed.
func NewInbox(o InboxOptions) *Inbox {
	return &Inbox{
		o: o, blobs: map[digest.Digest]*spool.File{}, uploads: map[string]*spool.File{},
		manifests: map[digest.Digest]Manifest{}, tags: map[string]digest.Digest{},
	}
}

// Backend is what a Handler serves.
func (b *Inbox) Backend() Backend {
	return Backend{Blobs: inboxBlobs{b}, Uploads: inboxUploads{b}, Manifests: inboxManifests{b}, Tags: inboxTags{b}}
}

// Graph is what arrives: layers at once, unless the query has to know first whose
// they are, and manifests after End. Names are those of what a tag points at. It
// may be called once, at any time.
func (b *Inbox) Graph(q pipeline.Query, o pipeline.ResolveOptions, names func(tag string) []string) pipeline.Graph {
	g := pipeline.NewArriving(func(ctx context.Context) (pipeline.Graph, error) {
		return pipeline.Resolve(ctx, b.content(), b.roots(names), q, o, nil)
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.graph, b.quiet = g, q.NeedsManifests()
	for _, l := range b.early {
		b.announce(l)
	}
	b.early = nil
	if b.ended {
		g.End(b.err)
	}
	return g
}

// announce is called with the lock held.
func (b *Inbox) announce(l pipeline.Layer) {
	switch {
	case b.graph == nil:
		b.early = append(b.early, l)
	case !b.quiet:
		b.graph.Announce(l)
	}
}

// End says that no more will come: err is nil at a good end. The first End
// counts.
func (b *Inbox) End(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return
	}
	b.ended, b.err = true, err
	if b.graph != nil {
		b.graph.End(err)
	}
}

// roots are what the tags point at, in the order in which they came.
func (b *Inbox) roots(names func(tag string) []string) (roots []pipeline.Root) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, tag := range b.order {
		roots = append(roots, pipeline.Root{Desc: b.manifests[b.tags[tag]].Desc, Names: names(tag)})
	}
	return roots
}

// errInboxClosed is what late uploads get.
var errInboxClosed = errors.New("nobody takes this push any more")

// Close gives the temporary files back; who still writes or reads gets an error.
func (b *Inbox) Close() error {
	b.End(errInboxClosed)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	var errs []error
	for _, files := range []map[string]*spool.File{b.uploads, named(b.blobs)} {
		for _, f := range files {
			errs = append(errs, f.Close())
		}
	}
	clear(b.uploads)
	clear(b.blobs)
	return errors.Join(errs...)
}

func named(blobs map[digest.Digest]*spool.File) map[string]*spool.File {
	out := make(map[string]*spool.File, len(blobs))
	for d, f := range blobs {
		out[d.String()] = f
	}
	return out
}

// blob finds what has arrived.
func (b *Inbox) blob(d digest.Digest) (*spool.File, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.blobs[d]
	if f == nil {
		return nil, fmt.Errorf("blob %s: %w", d, pipeline.ErrNotFound)
	}
	return f, nil
}

// add makes an upload a blob. What is no manifest and no config is a layer.
func (b *Inbox) add(id string, f *spool.File, d digest.Digest) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errInboxClosed
	}
	delete(b.uploads, id)
	if b.blobs[d] != nil {
		return f.Close()
	}
	f.End(nil)
	b.blobs[d] = f
	b.size += f.Size()
	head := make([]byte, min(f.Size(), headSize))
	if n, _ := f.ReadAt(head, 0); IsDocument(head[:n]) {
		return nil
	}
	b.announce(pipeline.Layer{Blob: ocispec.Descriptor{Digest: d, Size: f.Size()}, Open: func(ctx context.Context) (io.ReadCloser, error) {
		return b.content().Open(ctx, ocispec.Descriptor{Digest: d, Size: f.Size()})
	}})
	return nil
}

// Manifests are those that have come, in their order: the last is what the push
// was for.
func (b *Inbox) Manifests() (all []Manifest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range b.came {
		all = append(all, b.manifests[d])
	}
	return all
}

// Blob is a blob that has come, of at most limit bytes.
func (b *Inbox) Blob(ctx context.Context, d digest.Digest, limit int64) ([]byte, error) {
	f, err := b.blob(d)
	switch {
	case err != nil:
		return nil, err
	case f.Size() > limit:
		return nil, fmt.Errorf("blob %s has %d bytes: %w of %d", d, f.Size(), pipeline.ErrLimit, limit)
	}
	return io.ReadAll(f.Section(ctx, 0, f.Size()))
}

// Size is how much its temporary files have held, in bytes.
func (b *Inbox) Size() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	size := b.size
	for _, f := range b.uploads {
		size += f.Size()
	}
	return size
}
