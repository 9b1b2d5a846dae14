package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Run moves what src names to dst, through the filters in their order.
//
// Layers go in parallel, each read once; manifests follow when all layers are
// in, and only then does the sink publish. After an error nothing is published.
// Run closes the graph and the sink.
func Run(ctx context.Context, src Source, filters []Filter, dst Sink, opts Options) (report Report, err error) {
	if err := choose(filters, &opts); err != nil {
		return report, errors.Join(err, on(SinkSide, dst.Close()))
	}
	report, err = inStages(ctx, src, filters, dst, opts)
	report.Lanes = lanes(src, dst)
	return report, err
}

// runChosen is Run after the filters have said what of the source comes along.
func runChosen(ctx context.Context, src Source, filters []Filter, dst Sink, opts Options) (report Report, err error) {
	start := time.Now()
	defer func() {
		err = errors.Join(err, on(SinkSide, dst.Close()))
		report.Duration = time.Since(start)
	}()
	use := dst
	if d, ok := dst.(Deferred); ok {
		if use, err = d.Chosen(ctx); err != nil {
			return report, on(SinkSide, err)
		}
	}
	r := newRun(filters, use, opts)
	opts.Below = r.below
	if s, ok := use.(Limited); ok {
		if opts.Capacity, err = s.Capacity(ctx); err != nil {
			return report, on(SinkSide, err)
		}
		r.below = r.below || opts.Capacity.Chains
		opts.Below = r.below
		r.opts.Capacity = opts.Capacity
	}
	if err := opts.fit(); err != nil {
		return report, err
	}
	graph, err := src.Open(ctx, opts.Query)
	if err != nil {
		return report, on(SourceSide, err)
	}
	defer func() { err = errors.Join(err, on(SourceSide, graph.Close())) }()
	if err := r.absent(ctx, graph); err != nil {
		return report, err
	}
	if graph, err = r.reshape(ctx, graph); err != nil {
		return report, err
	}
	if graph, err = r.based(ctx, graph); err != nil {
		return report, err
	}
	if err := r.layers(ctx, graph); err != nil {
		return report, err
	}
	manifests, err := r.manifests(ctx, graph)
	if err != nil {
		return report, err
	}
	if err := r.publish(ctx, manifests); err != nil {
		return report, err
	}
	return r.result(), nil
}

// run is the state of one Run.
type run struct {
	opts    Options
	limits  Limits
	filters []Filter
	chain   []LayerFilter
	sink    Sink // nil: layers are only looked at

	early bool // of a layer whose manifest is not known (Early)

	watchers []Watcher
	told     bool // the watchers know the images

	below     bool // a filter looks at the layers below
	bases     map[digest.Digest]Base
	reshaped  map[digest.Digest]digest.Digest // configs of manifests that are not as in the source
	content   bool                            // a filter looks into files
	firstEdit int                             // of chain: the first that may change layers
	lastEdit  int                             // the last one; -1: there is none
	listed    []layerKey                      // the layers in the order of the manifests, if known
	seq       int                             // layers given to the sink so far
	deferred  []Layer                         // opaque blobs, until it is known that they are wanted
	onlyPlain sync.Once                       // says that the sink stores plain layers, whatever the user wants

	listedBlobs map[digest.Digest][]ocispec.Descriptor                 // what the sink has, by diff ID, once it was asked
	instead     map[digest.Digest]ocispec.Descriptor                   // blobs of the sink that stand for absent layers
	restock     map[digest.Digest]func(context.Context) (Layer, error) // absent layers that the sink gives out

	mu       sync.Mutex
	failed   []error
	outcomes map[layerKey]*outcome
	order    []layerKey // as the layers were started
	report   Report
}

// An outcome is what became of one layer.
type outcome struct {
	LayerReport
	layer Layer
	plain int64 // bytes of the tar that a filter changed
	// unreadable is why an Unknown blob is no file system.
	unreadable error
	// compression is what a recoded or rewritten layer is stored with.
	compression Compression
}

// choose lets the filters say what of the source comes along.
func choose(filters []Filter, opts *Options) error {
	for _, f := range filters {
		if c, ok := f.(Chooser); ok {
			if err := c.Choose(opts); err != nil {
				return err
			}
		}
	}
	return nil
}

func newRun(filters []Filter, dst Sink, opts Options) *run {
	if opts.Parallel <= 0 {
		opts.Parallel = defaultParallel
	}
	r := &run{
		opts: opts, limits: opts.Limits.WithDefaults(), filters: filters, sink: dst,
		firstEdit: math.MaxInt, lastEdit: -1, outcomes: map[layerKey]*outcome{},
	}
	for _, f := range filters {
		if lf, ok := f.(LayerFilter); ok {
			r.join(lf)
		}
	}
	if _, at := reshaper(filters); at >= 0 {
		r.below = true
	}
	return r
}

// join puts a filter at the end of the chain.
func (r *run) join(f LayerFilter) {
	if w, ok := f.(Watcher); ok {
		r.watchers = append(r.watchers, w)
	} else {
		r.firstEdit, r.lastEdit = min(r.firstEdit, len(r.chain)), len(r.chain)
	}
	r.chain = append(r.chain, f)
	r.below = r.below || f.Recipe().Below
	r.content = r.content || f.Recipe().Content
}

// layers runs every file system layer; opaque blobs wait until the manifests
// say which of them are wanted.
func (r *run) layers(ctx context.Context, graph Graph) error {
	if err := r.watchKnown(graph); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.opts.Parallel)
	seen := map[layerKey]bool{}
	var failed error
	for l, err := range r.inOrder(ctx, graph) {
		if err != nil {
			failed = on(SourceSide, err)
			break
		}
		k := keyOf(l, r.below)
		if seen[k] {
			continue
		}
		seen[k] = true
		if l.Role == Opaque {
			r.deferred = append(r.deferred, l)
			continue
		}
		if ctx.Err() != nil {
			break
		}
		r.start(ctx, group, l)
	}
	// A worker's error is the cause of whatever the source then says.
	if err := group.Wait(); err != nil {
		return r.failure(err)
	}
	return failed
}

// failure is all that went wrong in the layers that were in flight when the
// first one failed, and not only that they were then interrupted.
func (r *run) failure(first error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.failed) == 0 {
		return first
	}
	return errors.Join(distinct(r.failed)...)
}

// distinct leaves out what another layer has already said: a destination that
// cannot be written refuses all of them in the same words.
func distinct(failed []error) (out []error) {
	told := map[string]bool{}
	for _, err := range failed {
		cause := err
		if inner := errors.Unwrap(err); inner != nil { // behind the layer's digest
			cause = inner
		}
		if !told[cause.Error()] {
			told[cause.Error()] = true
			out = append(out, err)
		}
	}
	return out
}

// start runs one layer in the group.
func (r *run) start(ctx context.Context, group *errgroup.Group, l Layer) {
	seq := r.seq
	r.seq++
	k := keyOf(l, r.below)
	r.order = append(r.order, k)
	group.Go(func() error {
		o, err := r.layer(ctx, seq, l)
		if err == nil {
			err = r.watchDone(l, o, nil)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if err != nil {
			// Whoever was interrupted says so by what interrupted him.
			interrupted := ctx.Err() != nil && errors.Is(err, context.Cause(ctx))
			if !interrupted && !errors.Is(err, context.Canceled) {
				r.failed = append(r.failed, err)
			}
			return err
		}
		r.outcomes[k] = o
		return nil
	})
}

// blobs runs opaque blobs that the manifests want.
func (r *run) blobs(ctx context.Context, wanted map[digest.Digest]bool) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.opts.Parallel)
	for _, l := range append(r.deferred, r.mistaken(wanted)...) {
		if wanted[l.Blob.Digest] && ctx.Err() == nil {
			l.Role = Opaque
			r.start(ctx, group, l)
		}
	}
	if err := group.Wait(); err != nil {
		return r.failure(err)
	}
	return nil
}

// mistaken are blobs that came before their manifest, looked like a file
// system, were changed, and turn out to be opaque.
func (r *run) mistaken(wanted map[digest.Digest]bool) (again []Layer) {
	for _, k := range r.order {
		if o := r.outcomes[k]; k.role == Unknown && wanted[k.blob] && o.Result.Digest != k.blob {
			again = append(again, o.layer)
		}
	}
	return again
}

// publish hands the manifests to the sink and makes the roots visible.
func (r *run) publish(ctx context.Context, manifests []Manifest) error {
	if err := r.finish(ctx, manifests); err != nil {
		return err
	}
	for _, m := range manifests {
		if err := r.sink.Commit(ctx, m); err != nil {
			return on(SinkSide, err)
		}
		r.report.Written += int64(len(m.Raw) + len(m.Config))
		r.opts.Events.emit(Event{Kind: EventManifest, Layer: m.Desc.Digest, Message: m.Desc.Digest.String()})
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := r.sink.Publish(ctx); err != nil {
		return on(SinkSide, err)
	}
	for _, root := range r.report.Roots {
		r.opts.Events.emit(Event{Kind: EventPublished, Layer: root.Manifest.Digest, Message: fmt.Sprint(root.Names)})
	}
	return nil
}

// finish lets the filters give their results.
func (r *run) finish(ctx context.Context, manifests []Manifest) error {
	for _, f := range r.filters {
		if f, ok := f.(Finisher); ok {
			if err := f.Finish(ctx, manifests); err != nil {
				return on(FilterSide, err)
			}
		}
	}
	return nil
}

// fetched corrects what became of a layer that was held as far as the run knew,
// and that the sink has read all the same.
func (r *run) fetched(o *outcome) {
	f, ok := r.sink.(Fetcher)
	if !ok || o.How != HowHeld {
		return
	}
	if n := f.Fetched(o.Result.Digest); n > 0 {
		o.How = HowCopied
		r.report.Read += n - o.Source.Size
		r.report.Written += n - o.Result.Size
	}
}

// result adds up what the layers did, in the order of the manifests where the
// source knew it, else in that of their arrival.
func (r *run) result() Report {
	seen := map[layerKey]bool{}
	for _, k := range append(r.listed, r.order...) {
		if seen[k] || r.outcomes[k] == nil {
			continue
		}
		seen[k] = true
		o := r.outcomes[k]
		o.Result.MediaType = o.mediaType()
		if o.layer.madeOf != "" {
			o.Notes = append([]string{o.layer.madeOf}, o.Notes...)
			r.report.Read -= o.Source.Size // it lay in temporary files
		}
		r.fetched(o)
		r.report.Layers = append(r.report.Layers, o.LayerReport)
		switch o.How {
		case HowHeld, HowCached:
			r.report.Reused += o.Result.Size
		case HowForeign, HowSkipped:
		default:
			r.report.Read += o.Source.Size
			r.report.Written += o.Result.Size
			r.report.Rewrote += o.plain
		}
	}
	return r.report
}
