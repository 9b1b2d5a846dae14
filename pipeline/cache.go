package pipeline

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/internal/codec"
)

// A Cache remembers what layers became. A layer that a cache knows the outcome
// of, and whose outcome the sink holds, is neither read nor sent; one that a
// Watcher wants to see is read, and not sent. Its methods are called from many
// goroutines.
type Cache interface {
	// Lookup returns what a layer became.
	Lookup(k CacheKey) (CachedLayer, bool)
	// Record remembers it. Run records only what it has hashed itself.
	Record(k CacheKey, l CachedLayer)
}

// A CacheKey is a layer and what is done to it. Equal keys have outcomes of
// equal bytes.
type CacheKey struct {
	// Layer is the diff ID where the outcome depends on the layer's tar alone,
	// else the digest of the stored bytes.
	Layer digest.Digest
	// Recipe is what is done: filters, encoding, the layers below where they
	// count. "" is nothing: the outcome says what stored bytes hold.
	Recipe string
	// Compression is that of the outcome. It follows from Recipe.
	Compression Compression
	// SameTar: no filter of the run changes a layer. It is no part of what is
	// compared.
	SameTar bool
}

// A CachedLayer is what a layer became.
type CachedLayer struct {
	Blob        ocispec.Descriptor // digest and size
	Compression Compression
	DiffID      digest.Digest
	// Place names a repository ("registry.example/team/app") that held it; "" for
	// none.
	Place string
	// Claimed: nobody has hashed it here. It counts once its bytes, read where
	// they lie, have the diff ID that they should have.
	Claimed bool
}

// Reopener is implemented by a sink that can give back what it holds.
type Reopener interface {
	Open(ctx context.Context, blob ocispec.Descriptor) (io.ReadCloser, error)
}

// Placed is implemented by a sink that other sinks can take layers from: Place
// is what Layer.Origin is for a source.
type Placed interface {
	Place() string
}

// A knownSource is what is known of a layer that has not been opened.
type knownSource struct {
	diffID digest.Digest
	came   Compression
	// seen: the bytes were, here. Else it is what manifest and config claim.
	seen bool
}

// knownSource is what a cache has seen in the layer's bytes, else what manifest
// and config say of them.
func (t *transfer) knownSource() (s knownSource, ok bool) {
	l := t.layer
	seen, ok := t.run.opts.Cache.Lookup(CacheKey{Layer: l.Blob.Digest})
	switch {
	case ok && l.DiffID != "" && l.DiffID.Algorithm() == digest.SHA256 && seen.DiffID != l.DiffID:
		return s, false // the config lies: who reads the layer says so
	case ok:
		return knownSource{seen.DiffID, seen.Compression, true}, true
	case l.Blob.Digest == l.DiffID:
		return knownSource{l.DiffID, Plain, true}, true
	}
	s = knownSource{diffID: l.DiffID, came: LayerCompression(l.Blob.MediaType)}
	return s, s.diffID != "" && s.diffID.Algorithm() == digest.SHA256 && s.came != ""
}

// cacheable: a cache may know what becomes of the layer.
func (t *transfer) cacheable() bool {
	return t.run.opts.Cache != nil && t.layer.Role != Opaque && t.layer.Foreign == ""
}

// A cachedOutcome is what a cache knows of a layer, and the sink holds.
type cachedOutcome struct {
	source knownSource
	key    cacheKey
	found  CachedLayer
}

// fromCache takes a layer for done where a cache knows what becomes of it and
// the sink holds that. Nothing was opened yet.
func (t *transfer) fromCache(ctx context.Context, filtered bool) (bool, error) {
	c, err := t.lookup(ctx, filtered)
	if c == nil || err != nil {
		return false, err
	}
	return true, t.takeCached(ctx, c.source, c.key, c.found)
}

// lookup looks for what becomes of the layer; nil: nobody knows, or the sink does
// not hold it.
func (t *transfer) lookup(ctx context.Context, filtered bool) (*cachedOutcome, error) {
	if !t.cacheable() {
		return nil, nil
	}
	s, ok := t.knownSource()
	if !ok {
		return nil, nil
	}
	for _, k := range t.cacheKeys(s, filtered) {
		if k.kept && !s.seen {
			continue // what goes on as it is would be bytes that no filter has seen
		}
		found, ok := t.run.opts.Cache.Lookup(k.CacheKey)
		if !ok || k.changed && found.DiffID == s.diffID {
			continue
		}
		if k.kept {
			found = CachedLayer{Blob: t.layer.Blob, DiffID: s.diffID}
		}
		held, err := t.holdsCached(ctx, s, k, &found)
		if err != nil {
			return nil, err
		}
		if held {
			return &cachedOutcome{s, k, found}, nil
		}
	}
	return nil, nil
}

// holdsCached asks the sink for what a layer becomes. The sink may take it from
// a neighbour, but not before those who only look have seen it.
func (t *transfer) holdsCached(ctx context.Context, s knownSource, k cacheKey, c *CachedLayer) (bool, error) {
	l := t.layer
	switch {
	case k.kept && t.plan.Held:
		return true, nil
	case k.kept && (t.watched() || !t.mayMount()):
		return false, nil
	case !k.kept:
		l = Layer{DiffID: c.DiffID, Origin: c.Place, Blob: ocispec.Descriptor{
			MediaType: layerType(false, c.Compression), Digest: c.Blob.Digest, Size: c.Blob.Size,
		}}
		if t.watched() || c.Claimed {
			l.Origin = ""
		}
	}
	plan, err := t.run.sink.Plan(ctx, l)
	if err != nil {
		return false, on(SinkSide, err)
	}
	if k.kept && !plan.Held {
		t.layer.Origin = "" // it was asked for, and refused
	}
	if !plan.Held || !c.Claimed || t.run.foresees() {
		return plan.Held, nil
	}
	return t.believe(ctx, s, c), nil
}

// believe reads a blob that nobody has hashed here, where it lies, and says
// whether it is what it should be.
func (t *transfer) believe(ctx context.Context, s knownSource, c *CachedLayer) bool {
	sink, ok := t.run.sink.(Reopener)
	if !ok {
		return false
	}
	diffID, came, err := t.hashHeld(ctx, sink, c.Blob)
	if err != nil {
		t.run.opts.Events.Detail(fmt.Sprintf("layer %s: what the cache says of it cannot be checked: %v", short(t.layer.Blob.Digest), err))
		return false
	}
	if diffID != s.diffID {
		t.run.opts.Events.Warn(fmt.Sprintf("the layer cache takes %s for layer %s, which it is not; the layer is made anew", short(c.Blob.Digest), short(t.layer.Blob.Digest)))
		return false
	}
	c.DiffID, c.Compression, c.Claimed = diffID, came, false
	return true
}

func (t *transfer) hashHeld(ctx context.Context, sink Reopener, blob ocispec.Descriptor) (digest.Digest, Compression, error) {
	raw, err := sink.Open(ctx, blob)
	if err != nil {
		return "", "", err
	}
	defer raw.Close()
	plain, came, err := codec.NewReader(raw)
	if err != nil {
		return "", "", err
	}
	defer plain.Close()
	sum := sha256.New()
	if err := copyAll(sum, t.limited(plain)); err != nil {
		return "", "", err
	}
	if err := copyAll(io.Discard, raw); err != nil { // the digest counts at the end
		return "", "", err
	}
	return digest.NewDigest(digest.SHA256, sum), came, nil
}

// takeCached ends the transfer of a layer whose outcome the sink holds.
func (t *transfer) takeCached(ctx context.Context, s knownSource, k cacheKey, c CachedLayer) error {
	t.out.SourceDiffID = s.diffID
	if t.watched() {
		if err := t.onlyWatch(ctx); err != nil {
			return err
		}
	}
	t.run.skip(t.seq)
	t.out.How, t.out.Result, t.out.ResultDiffID = HowCached, c.Blob, c.DiffID
	if !k.kept {
		t.out.compression = c.Compression
		c.Place = t.place()
		t.run.opts.Cache.Record(k.CacheKey, c)
	}
	return nil
}

// watched: a Watcher wants to see the layer.
func (t *transfer) watched() bool {
	for _, f := range t.joined {
		if _, ok := f.(Watcher); ok {
			return true
		}
	}
	return false
}

// onlyWatch reads the layer for those that look at it.
func (t *transfer) onlyWatch(ctx context.Context) error {
	chain, err := t.build(ctx, nowhere{})
	if err != nil {
		return err
	}
	t.run.opts.Events.emit(Event{Kind: EventLayerStart, Layer: t.layer.Blob.Digest, Total: t.layer.Blob.Size})
	raw, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer raw.Close()
	if err := t.look(raw, chain); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, raw) // the digest counts at the end
	return err
}

func (t *transfer) place() string {
	if p, ok := t.run.sink.(Placed); ok {
		return p.Place()
	}
	return ""
}

// remember records what became of a layer that this run has read and hashed.
func (t *transfer) remember() {
	if !t.cacheable() || !t.hashed || t.out.unreadable != nil || t.out.How == HowCached || t.out.How == HowRead {
		return
	}
	c, blob := t.run.opts.Cache, t.layer.Blob
	s := knownSource{t.out.SourceDiffID, t.came, true}
	c.Record(CacheKey{Layer: blob.Digest}, CachedLayer{Blob: blob, Compression: s.came, DiffID: s.diffID})
	out := CachedLayer{Blob: t.out.Result, Compression: t.out.compression, DiffID: t.out.ResultDiffID, Place: t.place()}
	if kept := out.Blob.Digest == blob.Digest; kept {
		out.Compression, out.DiffID = s.came, s.diffID
	}
	if k, ok := t.outcomeKey(s, out); ok {
		c.Record(k, out)
	}
}
