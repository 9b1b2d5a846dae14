package pipeline

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Early moves one layer whose manifest is not known yet, on the guess that it is a
// file system:
//
//	bytes that still arrive ─▶ filters ─▶ dst        Early, for each layer
//	manifest ─▶ Run ─▶ dst                           finds that dst holds them
//
// With filters it records in opts.Cache what the layer became, under the keys that
// a Run with equal filters, options and an equal sink looks for; that Run then
// neither opens nor sends the layer, and comes to the same bytes as without Early. A
// wrong guess (a config, an artifact that is no tar) is an error, and like every
// error it leaves nothing behind: nothing is committed or recorded. Without filters
// the bytes go as they come, whatever they are.
//
// L.Open may return bytes that are still on their way, and is called again where
// they have to be read twice. While l.Blob.Digest is "", the sink is asked for no
// blob, and the digest is learned at the end (Learned), which what Open returns has
// to reach only if the bytes are right.
//
// Filters are fresh ones, of this layer alone. A Watcher among them sees it, so that
// a deny ends it, and is told nothing further; it sees it again in its Run. Early
// does not close dst, which many may use at once.
func Early(ctx context.Context, l Layer, filters []Filter, dst Sink, opts Options) (LayerReport, error) {
	if err := choose(filters, &opts); err != nil {
		return LayerReport{}, err
	}
	if err := fitsEarly(filters, opts); err != nil {
		return LayerReport{}, err
	}
	l.Role, l.DiffID, l.Foreign, l.Origin = Unknown, "", "", ""
	r := newRun(filters, dst, opts)
	r.early = true
	o, err := r.layer(ctx, 0, l)
	if err != nil {
		return LayerReport{}, err
	}
	return o.LayerReport, nil
}

// FitsEarly says why layers that go through these filters have to wait for their
// manifest; nil: Early can have them. Opts are those of the run.
func FitsEarly(filters []Filter, opts Options) error {
	if err := choose(filters, &opts); err != nil {
		return err
	}
	return fitsEarly(filters, opts)
}

func fitsEarly(filters []Filter, opts Options) error {
	r := newRun(filters, nil, opts)
	opts.Below = r.below
	finder, err := r.baseFinder()
	switch {
	case err != nil:
		return err
	case finder != nil, r.below:
		return errors.New("a filter has to know what a layer stands upon")
	case opts.NeedsManifests():
		return errors.New("not all images come along")
	case r.touches() && opts.Cache == nil:
		return errors.New("there is no cache to remember what a layer became")
	}
	return nil
}

// touches says whether layers may come out as others, or are looked at.
func (r *run) touches() bool { return len(r.chain) > 0 || r.opts.Storing.Compression != "" }

// Settled says whether Run would neither open nor send a file system layer, since
// opts.Cache knows what it becomes and dst holds that, and how many bytes it has as
// it comes. Of l nothing but the digest has to be known. Where l.Origin is set, whoever
// asks may have the layer, and dst may mount what it became from where it is. Without
// filters the sink alone can say it (Plan).
func Settled(ctx context.Context, l Layer, filters []Filter, dst Sink, opts Options) (size int64, settled bool, err error) {
	if opts.Cache == nil {
		return 0, false, nil
	}
	seen, ok := opts.Cache.Lookup(CacheKey{Layer: l.Blob.Digest})
	if !ok {
		return 0, false, nil
	}
	if err := choose(filters, &opts); err != nil {
		return 0, false, err
	}
	if early := fitsEarly(filters, opts) == nil; !early {
		return 0, false, nil
	}
	opts.Cache = checked{opts.Cache, l.Origin != ""}
	l.Role, l.DiffID, l.Origin = FileSystem, "", ""
	t := &transfer{run: newRun(filters, dst, opts), layer: l, out: &outcome{layer: l}}
	_, filtered, err := t.ask(ctx)
	if err != nil || t.watched() {
		return 0, false, err
	}
	found, err := t.lookup(ctx, filtered)
	return seen.Blob.Size, found != nil, err
}

// checked is a cache of what was hashed here, which tells where layers could be mounted
// from or not.
type checked struct {
	Cache
	places bool
}

func (c checked) Lookup(k CacheKey) (CachedLayer, bool) {
	l, ok := c.Cache.Lookup(k)
	if !c.places {
		l.Place = ""
	}
	return l, ok && !l.Claimed
}

// Learned is implemented by what Layer.Open returns for a layer of unknown digest,
// where somebody else has computed it: Blob is the digest and size of the bytes, and
// is called after io.EOF. Early hashes the bytes of others itself.
type Learned interface {
	Blob() ocispec.Descriptor
}

// A learning finds out the name of a layer that arrives.
type learning struct {
	told Learned   // nil: sum does it
	sum  hash.Hash // nil: nobody needs it
}

func (t *transfer) learning(rc io.ReadCloser) (l learning) {
	if t.layer.Blob.Digest != "" {
		return l
	}
	if told, ok := rc.(Learned); ok {
		return learning{told: told}
	}
	return learning{sum: sha256.New()}
}

func (l learning) add(p []byte) {
	if l.sum != nil {
		l.sum.Write(p)
	}
}

// learn gives the layer its name at the end of its n bytes.
func (t *transfer) learn(l learning, n int64) {
	switch {
	case t.layer.Blob.Digest != "":
		return
	case l.told != nil:
		blob := l.told.Blob()
		t.layer.Blob.Digest, t.layer.Blob.Size = blob.Digest, blob.Size
	case l.sum != nil:
		t.layer.Blob.Digest, t.layer.Blob.Size = digest.NewDigest(digest.SHA256, l.sum), n
	}
	t.out.Source, t.out.layer = t.layer.Blob, t.layer
}
