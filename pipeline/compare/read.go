package compare

import (
	"context"
	"crypto/sha256"
	"hash"
	"io"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/layerpath"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// A reader is the filter that leaves a record for each entry of the layers of one
// source.
type reader struct {
	shelf *shelf
	// want are the diff IDs of the layers to read; nil is all. Where the source does
	// not know them before the layers come, all are read.
	want map[digest.Digest]bool

	mu        sync.Mutex
	attempts  map[pipeline.LayerID]*sorter // what the latest handler writes
	layers    map[pipeline.LayerID]*sorter
	images    []pipeline.ImageLayers
	manifests []pipeline.Manifest
}

var (
	_ pipeline.Watcher  = (*reader)(nil)
	_ pipeline.Finisher = (*reader)(nil)
)

func newReader(s *shelf, want map[digest.Digest]bool) *reader {
	return &reader{shelf: s, want: want, attempts: map[pipeline.LayerID]*sorter{}, layers: map[pipeline.LayerID]*sorter{}}
}

// Recipe says that files are read, and left as they are.
func (*reader) Recipe() pipeline.Recipe { return pipeline.Recipe{Key: "diff", Content: true} }

// Layer returns the handler for a layer that is to be read.
func (r *reader) Layer(ctx context.Context, l pipeline.LayerInfo, next tarstream.Handler) (tarstream.Handler, error) {
	if r.want != nil && l.DiffID != "" && !r.want[l.DiffID] {
		return next, nil
	}
	s := &sorter{shelf: r.shelf}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attempts[l.ID] = s
	links := &linker{entries: s, links: sorter{shelf: r.shelf}}
	return &reading{sorter: s, links: links, resolve: func() error { return links.resolve(ctx) }, next: next, sum: sha256.New()}, nil
}

// Images tells which layers make up which image.
func (r *reader) Images(images []pipeline.ImageLayers) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.images = images
	return nil
}

// Done takes the records of a layer.
func (r *reader) Done(seen pipeline.LayerSeen) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.attempts[seen.ID]; s != nil && seen.Err == nil {
		r.layers[seen.ID] = s
	}
	delete(r.attempts, seen.ID)
	return nil
}

// Finish keeps the manifests.
func (r *reader) Finish(_ context.Context, manifests []pipeline.Manifest) error {
	r.manifests = manifests
	return nil
}

// reading writes the records of one layer.
type reading struct {
	*sorter
	links   *linker
	resolve func() error
	next    tarstream.Handler
	sum     hash.Hash
	seq     uint64
	// known is the last place: of the directories above it records have been written.
	known string
}

func (r *reading) Entry(e *tarstream.Entry) error {
	h := e.Header()
	at, k := kindOf(h)
	if k == 0 {
		return r.next.Entry(e)
	}
	r.seq++
	if err := r.imply(at, k); err != nil {
		return err
	}
	if k == file {
		r.sum.Reset()
		e.Tee(r.sum)
	}
	if err := r.next.Entry(e); err != nil {
		return err
	}
	switch k { //nolint:exhaustive // nothing is special about the others
	case hardlink:
		return r.links.add(at, layerpath.Of(h.Linkname), r.seq)
	case file:
		if err := e.Drain(); err != nil {
			return err
		}
	}
	return r.add(at, r.seq, func(b []byte) []byte { return appendRecord(b, k, h, r.sum.Sum(nil)) })
}

// imply writes a record for each directory above a place, but for those that the
// last one was in. A whiteout needs no directory.
func (r *reading) imply(at string, k kind) error {
	if k == gone || k == opaque {
		return nil
	}
	for end, c := range []byte(at) {
		if c != '/' || strings.HasPrefix(r.known, at[:end]) && (len(r.known) == end || r.known[end] == '/') {
			continue
		}
		if err := r.add(at[:end], r.seq, func(b []byte) []byte { return append(b, byte(implied)) }); err != nil {
			return err
		}
	}
	r.known = at
	return nil
}

func (r *reading) End(rest io.Reader) error {
	if err := r.resolve(); err != nil {
		return err
	}
	if err := r.end(); err != nil {
		return err
	}
	return r.next.End(rest)
}
