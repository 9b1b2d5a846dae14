package pipeline

import (
	"context"
	"errors"
	"slices"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Foreseer is implemented by a sink that can be asked without leaving a trace.
// After Foresee only Capacity, Plan and Close are called (of a Deferred sink,
// Chosen): they write nothing, mount nothing and start nothing.
type Foreseer interface {
	Foresee()
}

// A Foresight is what a source says of a graph that it cannot list exactly.
type Foresight struct {
	mu     sync.Mutex
	vague  string
	approx bool
}

// Vague notes why the digests of layers are not known before they are read. The
// sink is not asked for them then.
func (f *Foresight) Vague(why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.vague, f.approx = why, true
}

// Approximate notes that the sizes of layers are not exact.
func (f *Foresight) Approximate() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.approx = true
}

// A Forecast says what a run would do. Sizes are bytes of layers as the source
// has them.
type Forecast struct {
	Roots  []RootForecast
	Layers []LayerForecast
	// Move is what would be read and sent or compressed anew, Maybe what filters
	// would read, who may change it or not, Held what would not be read.
	Move, Maybe, Held int64
	// Approximate: the source knows no exact sizes.
	Approximate bool
	// Vague is why it is not known which layers the destination has; "": it is.
	Vague string
	// Unasked: the destination cannot be asked what it has, and is thought to have
	// nothing.
	Unasked bool
	Lanes   []LaneReport
}

// A RootForecast is one image or index that would be published.
type RootForecast struct {
	Names []string
	// Manifest describes it as the source has it; whether it keeps its digest is
	// known when no layer was changed.
	Manifest ocispec.Descriptor
}

// A LayerForecast says what would become of one layer.
type LayerForecast struct {
	// Layer is as the source has it; it is not to be opened.
	Layer Layer
	// How is HowHeld, HowCached, HowForeign, HowSkipped, HowCopied, HowRecoded;
	// HowRead where filters read it, who may change it or leave it.
	How How
	// Filters are the recipes of those.
	Filters []string
	Why     string
}

// Foresee says what Run would do with the same arguments, by the same code, without
// opening a layer and without writing anything. It closes the sink.
func Foresee(ctx context.Context, src Source, filters []Filter, dst Sink, opts Options) (f Forecast, err error) {
	defer func() { err = errors.Join(err, on(SinkSide, dst.Close())) }()
	if err := choose(filters, &opts); err != nil {
		return f, err
	}
	opts.Foresight = &Foresight{}
	use, asks, err := foreseen(ctx, dst)
	if err != nil {
		return f, on(SinkSide, err)
	}
	r := newRun(filters, use, opts)
	if err := r.limit(ctx, use, asks); err != nil {
		return f, err
	}
	graph, err := src.Open(ctx, r.opts.Query)
	if err != nil {
		return f, on(SourceSide, err)
	}
	defer func() { err = errors.Join(err, on(SourceSide, graph.Close())) }()
	if r.opts.Foresight.vague != "" || !asks {
		r.sink = unasked{}
	} else if err := r.absent(ctx, graph); err != nil {
		return f, err
	}
	if graph, err = r.based(ctx, graph); err != nil {
		return f, err
	}
	if err := r.foresee(ctx, graph, &f); err != nil {
		return f, err
	}
	f.Vague, f.Approximate, f.Unasked, f.Lanes = r.opts.Foresight.vague, r.opts.Foresight.approx, !asks, lanes(src, dst)
	return f, nil
}

// foreseen is the sink to ask, and whether it can be.
func foreseen(ctx context.Context, dst Sink) (use Sink, asks bool, err error) {
	if f, ok := dst.(Foreseer); ok {
		f.Foresee()
	}
	use = dst
	if d, ok := dst.(Deferred); ok {
		if use, err = d.Chosen(ctx); err != nil {
			return nil, false, err
		}
	}
	_, asks = use.(Foreseer)
	return use, asks, nil
}

// limit asks the sink what it can hold.
func (r *run) limit(ctx context.Context, use Sink, asks bool) (err error) {
	r.opts.Below = r.below
	if s, ok := use.(Limited); ok && asks {
		if r.opts.Capacity, err = s.Capacity(ctx); err != nil {
			return on(SinkSide, err)
		}
		r.below = r.below || r.opts.Capacity.Chains
		r.opts.Below = r.below
	}
	return r.opts.fit()
}

// foresees: nothing is read or written.
func (r *run) foresees() bool { return r.opts.Foresight != nil }

// foresee asks about every layer, and adds up.
func (r *run) foresee(ctx context.Context, graph Graph, f *Forecast) error {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(r.opts.Parallel)
	var layers []*LayerForecast
	seen := map[layerKey]bool{}
	var failed error
	for l, err := range graph.Layers(gctx) {
		if err != nil {
			failed = on(SourceSide, err)
			break
		}
		k := keyOf(l, r.below)
		if seen[k] {
			continue
		}
		seen[k] = true
		out := &LayerForecast{Layer: l}
		layers = append(layers, out)
		group.Go(func() error { return r.foreseeLayer(gctx, out) })
	}
	if err := errors.Join(group.Wait(), failed); err != nil {
		return err
	}
	for _, l := range layers {
		f.add(*l)
	}
	for m, err := range graph.Manifests(ctx) {
		if err != nil {
			return on(SourceSide, err)
		}
		if m.Root {
			f.Roots = append(f.Roots, RootForecast{Names: m.Names, Manifest: m.Desc})
		}
	}
	return nil
}

func (f *Forecast) add(l LayerForecast) {
	f.Layers = append(f.Layers, l)
	switch l.How { //nolint:exhaustive // the others are of runs
	case HowHeld, HowCached:
		f.Held += l.Layer.Blob.Size
	case HowRead:
		f.Maybe += l.Layer.Blob.Size
	case HowCopied, HowRecoded:
		f.Move += l.Layer.Blob.Size
	}
}

// foreseeLayer decides as transfer.do does, up to where it would open the layer.
func (r *run) foreseeLayer(ctx context.Context, out *LayerForecast) error {
	l := out.Layer
	if l.Foreign.unread() {
		if out.How = HowForeign; l.Foreign == ForeignSkip {
			out.How = HowSkipped
		}
		return nil
	}
	t := &transfer{run: r, layer: l, out: &outcome{layer: l, LayerReport: LayerReport{Source: l.Blob, SourceDiffID: l.DiffID}}}
	_, filtered, err := t.ask(ctx)
	if err != nil {
		return err
	}
	if f, _ := reshaper(r.filters); f != nil && l.Role != Opaque {
		out.How, out.Filters = HowRead, append(recipes(t.joined), f.Recipe().Key)
		return nil
	}
	mounts := !filtered && t.mayMount()
	_, instead := r.instead[l.Blob.Digest]
	_, restocked := r.restock[l.Blob.Digest]
	switch {
	case !filtered && (t.plan.Held || (instead || restocked) && l.Absent):
		out.How = HowHeld
		return nil
	case mounts && !t.recodes():
		out.How, out.Why = HowHeld, "from "+l.Origin+", if the registry lets us"
		return nil
	}
	cached, err := t.lookup(ctx, filtered)
	if err != nil {
		return err
	}
	came := LayerCompression(l.Blob.MediaType)
	enc := t.plan.encoding(came, l.Stored)
	switch {
	case cached != nil && !t.watched():
		out.How = HowCached
	case filtered:
		out.How, out.Filters = HowRead, recipes(t.joined)
	case l.Role != Opaque && came != "" && madeAnew(came, enc):
		if out.How, out.Why = HowRecoded, "as "+string(enc.Compression.Writable()); enc.Compression == Plain {
			out.Why = "plain"
		}
	default:
		out.How = HowCopied
	}
	return nil
}

func recipes(filters []LayerFilter) (keys []string) {
	for _, f := range filters {
		if k := f.Recipe().Key; !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return keys
}

// unasked is in the place of a sink that cannot be asked.
type unasked struct{ Sink }

// Plan takes everything as it comes.
func (unasked) Plan(context.Context, Layer) (Plan, error) { return Plan{}, nil }
