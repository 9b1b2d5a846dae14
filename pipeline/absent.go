package pipeline

import (
	"context"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Sparse is implemented by a Content that lists layers which it was made without,
// since the destination is to have them: a partial archive.
type Sparse interface {
	Content
	// Omits says whether a blob was left out; such a layer is Absent.
	Omits(blob digest.Digest) bool
}

// Partial is implemented by a Graph that may have absent layers. Run asks for
// them first: before a byte moves, the sink has to hold all of them.
type Partial interface {
	Graph
	Absent(ctx context.Context) ([]Layer, error)
}

var _ Partial = (*resolved)(nil)

// Absent are the layers that the source was made without.
func (g *resolved) Absent(context.Context) (absent []Layer, err error) {
	for _, l := range g.layers {
		if l.Absent {
			absent = append(absent, l)
		}
	}
	return absent, nil
}

// An AbsentError names the layers that a partial source leaves out and the sink
// does not hold.
type AbsentError struct{ Layers []Layer }

func (e *AbsentError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "it lacks %d of the layers that the partial archive leaves out: ", len(e.Layers))
	for i, l := range e.Layers {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s (%d bytes)", l.Blob.Digest, l.Blob.Size)
	}
	b.WriteString("; list what the destination has now (occystrap inventory DESTINATION -o have.json) and write the archive again with ?have=have.json")
	return b.String()
}

// Is makes it an ErrNotFound.
func (e *AbsentError) Is(target error) bool { return target == ErrNotFound }

// absent checks that the sink holds every layer that the source was made
// without. Nothing is sent before, nor if one is missing.
func (r *run) absent(ctx context.Context, graph Graph) error {
	g, ok := graph.(Partial)
	if _, between := r.sink.(*stage); !ok || between || r.sink == nil {
		return nil // the filters before a stage read every layer, and say what is wrong
	}
	layers, err := g.Absent(ctx)
	if err != nil {
		return on(SourceSide, err)
	}
	missing := &AbsentError{}
	told := map[digest.Digest]bool{}
	for _, l := range layers {
		held, err := r.holdsAbsent(ctx, l)
		if err != nil {
			return err
		}
		if !held && !told[l.Blob.Digest] {
			told[l.Blob.Digest] = true
			missing.Layers = append(missing.Layers, l)
		}
	}
	if len(missing.Layers) > 0 {
		return on(SinkSide, missing)
	}
	return nil
}

// holdsAbsent asks the sink for the layer, then for the same tar in another
// compression.
func (r *run) holdsAbsent(ctx context.Context, l Layer) (bool, error) {
	plan, err := r.sink.Plan(ctx, l)
	if err != nil {
		return false, on(SinkSide, err)
	}
	if plan.Held {
		return true, nil
	}
	others, err := r.others(ctx)
	if err != nil {
		return false, err
	}
	for _, blob := range others[l.DiffID] {
		other := l
		other.Blob, other.Origin = blob, ""
		plan, err := r.sink.Plan(ctx, other)
		if err != nil {
			return false, on(SinkSide, err)
		}
		if plan.Held {
			r.instead[l.Blob.Digest] = blob
			r.opts.Events.Warn(fmt.Sprintf("the destination has layer %s compressed otherwise, as %s: the image gets that blob, and so another digest", short(l.Blob.Digest), short(blob.Digest)))
			return true, nil
		}
	}
	return r.restockable(ctx, l)
}

// Restocker is implemented by a sink that cannot take an image without a layer
// that is in others of its images, but gives those out: Podman, or a daemon whose
// content store is out of our reach.
type Restocker interface {
	// Restock looks for a layer among what the sink has. Get reads it from there, as
	// one that can be opened.
	Restock(ctx context.Context, diffID digest.Digest) (get func(ctx context.Context) (Layer, error), ok bool, err error)
}

// restockable says whether the sink can give out the layer that it is to have.
func (r *run) restockable(ctx context.Context, l Layer) (bool, error) {
	s, can := r.sink.(Restocker)
	if !can || l.DiffID == "" {
		return false, nil
	}
	get, ok, err := s.Restock(ctx, l.DiffID)
	if err != nil || !ok {
		return false, on(SinkSide, err)
	}
	if r.restock == nil {
		r.restock = map[digest.Digest]func(context.Context) (Layer, error){}
	}
	r.restock[l.Blob.Digest] = get
	return true, nil
}

// others are the blobs that the sink lists, by their diff IDs; it is asked once.
func (r *run) others(ctx context.Context) (map[digest.Digest][]ocispec.Descriptor, error) {
	if r.instead != nil {
		return r.listedBlobs, nil
	}
	r.instead = map[digest.Digest]ocispec.Descriptor{}
	sink, ok := r.sink.(Inventor)
	if !ok {
		return nil, nil
	}
	r.listedBlobs = map[digest.Digest][]ocispec.Descriptor{}
	for h, err := range sink.Holdings(ctx, r.limits) {
		if err != nil {
			return nil, on(SinkSide, err)
		}
		// How a blob is compressed stands in the manifest: it has to be known.
		if h.Blob.Digest != "" && h.DiffID != "" && h.ChainID == "" && LayerCompression(h.Blob.MediaType) != "" {
			blob := ocispec.Descriptor{MediaType: h.Blob.MediaType, Digest: h.Blob.Digest, Size: h.Blob.Size}
			r.listedBlobs[h.DiffID] = append(r.listedBlobs[h.DiffID], blob)
		}
	}
	return r.listedBlobs, nil
}

// absent ends the transfer of a layer that the sink has, compressed otherwise.
func (t *transfer) absent(ctx context.Context) error {
	if get := t.run.restock[t.layer.Blob.Digest]; get != nil {
		return t.restocked(ctx, get)
	}
	blob, ok := t.run.instead[t.layer.Blob.Digest]
	if !ok {
		return on(SinkSide, &AbsentError{Layers: []Layer{t.layer}}) // it was there a moment ago
	}
	t.run.skip(t.seq)
	t.out.How, t.out.Result, t.out.ResultDiffID = HowHeld, blob, t.layer.DiffID
	t.out.compression = LayerCompression(blob.MediaType)
	t.out.Result.MediaType = ""
	t.note("the destination has it compressed otherwise")
	return nil
}

// restocked takes a layer from where it is to go, out of another image.
func (t *transfer) restocked(ctx context.Context, get func(context.Context) (Layer, error)) error {
	l, err := get(ctx)
	if err != nil {
		return on(SinkSide, err)
	}
	own := t.layer
	own.Blob, own.Open, own.Absent, own.Origin = l.Blob, l.Open, false, ""
	plan, err := t.run.sink.Plan(ctx, own)
	if err != nil {
		return on(SinkSide, err)
	}
	if plan.Held {
		t.run.skip(t.seq)
		t.out.How = HowHeld
	} else if err := t.carry(ctx, own); err != nil {
		return err
	}
	t.out.Result, t.out.ResultDiffID = l.Blob, t.layer.DiffID
	if l.Blob.Digest != t.layer.Blob.Digest {
		t.out.compression, t.out.Result.MediaType = LayerCompression(l.Blob.MediaType), ""
	}
	t.note("it is taken from another image of the destination")
	return nil
}

// carry copies a layer of the sink's own into it.
func (t *transfer) carry(ctx context.Context, l Layer) error {
	raw, err := l.Open(ctx)
	if err != nil {
		return on(SinkSide, err)
	}
	defer raw.Close()
	w, err := t.writer(ctx, l)
	if err != nil {
		return err
	}
	defer w.Close()
	if err := copyAll(w, raw); err != nil {
		return on(SinkSide, err)
	}
	t.out.How = HowRecoded
	return on(SinkSide, w.Commit(ctx, l.Blob, l.DiffID))
}
