package pipeline

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/internal/codec"
	"github.com/occystrap/occystrap/pipeline/internal/deflate"
	"github.com/occystrap/occystrap/pipeline/internal/zstdframe"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// A transfer is one attempt at one layer.
//
//	held        the sink has it: nothing is opened
//	cached      what it becomes is known, and the sink has that: nothing is opened
//	as it came  stored bytes ─▶ sink
//	scan        stored bytes ─▶ sink, and ─▶ decode ─▶ filters ─▶ Detector;
//	            at the first change what was sent is discarded, then edit or
//	edit        stored bytes ─▶ edited where the filters change the tar ─▶ sink
//	rewrite     stored bytes ─▶ decode ─▶ filters ─▶ encode ─▶ sink
type transfer struct {
	run   *run
	seq   int
	layer Layer
	plan  Plan
	mode  Recompress
	why   string // the layer is compressed anew, if it changes, and not edited
	came  Compression
	enc   Encoding
	out   *outcome

	joined []LayerFilter // those that do not leave the layer alone, in their order
	hashed bool          // SourceDiffID was computed, not told
}

func (t *transfer) do(ctx context.Context) (err error) {
	chain, filtered, err := t.ask(ctx)
	if err != nil {
		return err
	}
	if !filtered && t.plan.Held {
		t.held()
		return nil
	}
	if !filtered && t.layer.Absent {
		return t.absent(ctx)
	}
	if done, err := t.fromCache(ctx, filtered); done || err != nil {
		return err
	}
	t.run.opts.Events.emit(Event{Kind: EventLayerStart, Layer: t.layer.Blob.Digest, Total: t.layer.Blob.Size})
	raw, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer raw.Close()
	where := raw.section() // before anything is read
	head := newRewinder(raw)
	came, err := head.sniff()
	if err != nil {
		return err
	}
	enc := t.plan.encoding(came, t.layer.Stored)
	if t.layer.Role == Opaque {
		enc.Compression, enc.Anew = came, false
	}
	t.came, t.enc = came, enc
	edits := t.edits(came, enc)
	if edits && t.run.content {
		edits, t.why = false, "a filter looks into files"
	}
	switch {
	case enc.Compression != came || enc.Anew:
		return t.orAsItCame(ctx, t.rewrite(ctx, head.again(), enc))
	case !filtered:
		return t.asItCame(ctx, head.again(), where)
	case edits && !t.plan.Held && (t.run.lastEdit >= 0 || !t.mayMount()):
		// Where the layer could be mounted, and a filter may change it, it is sent
		// for nothing if none does; but no layer that changes is read twice.
		return t.edit(ctx, head.again(), enc)
	}
	return t.scan(ctx, head, chain, enc, edits)
}

// ask asks the filters whether they want to see the layer, and the sink how it
// wants it.
func (t *transfer) ask(ctx context.Context) (chain tarstream.Handler, filtered bool, err error) {
	end := &tarstream.Detector{}
	if chain, err = t.build(ctx, end); err != nil {
		return nil, false, err
	}
	filtered = chain != tarstream.Handler(end)
	asked := t.layer
	if filtered {
		asked.Origin = "" // nothing is mounted before the filters have seen it
	}
	if t.recodes() {
		asked = t.recoded(asked)
	}
	if t.plan, err = t.run.sink.Plan(ctx, asked); err != nil {
		return nil, false, on(SinkSide, err)
	}
	t.plan = t.storing(t.plan)
	if t.mode = t.run.recompress(t.plan.Encoding); filtered || t.recodes() {
		t.out.Recipe = t.run.recipe(t.mode, t.layer)
	}
	return chain, filtered, nil
}

// look shows the layer to the filters and checks its diff ID.
func (t *transfer) look(head io.Reader, chain tarstream.Handler) error {
	plain, _, err := codec.NewReader(head)
	if err != nil {
		return on(SourceSide, err)
	}
	defer plain.Close()
	sum := sha256.New()
	if err := t.read(io.TeeReader(t.limited(plain), sum), chain); err != nil {
		return err
	}
	return t.checkDiffID(digest.NewDigest(digest.SHA256, sum))
}

// isNoFileSystem says whether a blob whose manifest has not come yet turned out
// to be no layer. Whether that is an error, the manifest decides.
// Early takes it for one: then the guess was wrong.
func (t *transfer) isNoFileSystem(err error) bool {
	var side *Error
	return t.layer.Role == Unknown && !t.run.early && errors.As(err, &side) && side.Side == SourceSide && !errors.Is(err, ErrLimit) && !errors.Is(err, ErrDigest)
}

// orAsItCame sends a blob that could not be recoded, because it is none, as it
// is.
func (t *transfer) orAsItCame(ctx context.Context, err error) error {
	if !t.isNoFileSystem(err) {
		return err
	}
	t.out.unreadable = err
	raw, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer raw.Close()
	return t.asItCame(ctx, raw, raw.section())
}

// held records that nothing needs to move.
func (t *transfer) held() {
	t.run.skip(t.seq)
	t.out.How, t.out.Result, t.out.ResultDiffID = HowHeld, t.layer.Blob, t.layer.DiffID
}

// asItCame copies the stored bytes: those of r, which may lie in a file.
func (t *transfer) asItCame(ctx context.Context, r io.Reader, where Section) error {
	w, err := t.writer(ctx, t.layer)
	if err != nil {
		return err
	}
	defer w.Close()
	if !t.fileToFile(ctx, where, w.LayerWriter) {
		if err := copyAll(w, r); err != nil {
			return err
		}
	}
	return t.commitAsItCame(ctx, w, "")
}

func (t *transfer) commitAsItCame(ctx context.Context, w LayerWriter, diffID digest.Digest) error {
	blob := t.layer.Blob
	if t.layer.Foreign == ForeignFetch {
		blob.URLs = nil
	}
	if err := w.Commit(ctx, blob, diffID); err != nil {
		return on(SinkSide, err)
	}
	t.out.How, t.out.Result, t.out.ResultDiffID = HowCopied, blob, t.layer.DiffID
	return nil
}

// scan sends the stored bytes while the filters look at them.
func (t *transfer) scan(ctx context.Context, head *rewinder, chain tarstream.Handler, enc Encoding, edits bool) error {
	pass := &passThrough{t: t, ctx: ctx}
	defer pass.Close()
	mount := t.mayMount()
	if !t.plan.Held && !mount {
		head.overflow = pass
	}
	err := t.look(head, chain)
	switch {
	case errors.Is(err, tarstream.ErrChanged):
		return t.changed(ctx, head, pass, enc, edits)
	case t.isNoFileSystem(err):
		t.out.unreadable = err // it goes as it came
	case err != nil:
		return err
	}
	if _, err := io.Copy(io.Discard, head); err != nil { // the digest counts at the end
		return err
	}
	if mount {
		return t.orHeld(ctx) // it may come from a neighbour
	}
	if t.plan.Held {
		t.held()
		return nil
	}
	if err := head.finish(pass); err != nil {
		return err
	}
	return t.commitAsItCame(ctx, pass.w, t.out.SourceDiffID)
}

func (t *transfer) mayMount() bool {
	m, ok := t.run.sink.(Mounter)
	return ok && !t.plan.Held && m.MayMount(t.layer)
}

// orHeld asks the sink about a layer that goes as it is, and sends it unless the sink
// has it, or can have it from its neighbour.
func (t *transfer) orHeld(ctx context.Context) (err error) {
	if t.plan, err = t.run.sink.Plan(ctx, t.layer); err != nil {
		return on(SinkSide, err)
	}
	if t.plan.Held {
		t.held()
		return nil
	}
	raw, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer raw.Close()
	return t.asItCame(ctx, raw, raw.section())
}

// changed goes over to changing the layer: from what is still in memory, else
// from a second opening.
func (t *transfer) changed(ctx context.Context, head *rewinder, pass *passThrough, enc Encoding, edits bool) error {
	if err := pass.Close(); err != nil {
		return on(SinkSide, err)
	}
	r := head.again()
	if head.spent {
		raw, err := t.open(ctx)
		if err != nil {
			return err
		}
		defer raw.Close()
		r = raw
	}
	if edits {
		return t.edit(ctx, r, enc)
	}
	return t.orAsItCame(ctx, t.rewrite(ctx, r, enc))
}

// fresh is the layer as one whose bytes will be new ones.
func (t *transfer) fresh() Layer {
	l := t.layer
	l.Blob = ocispec.Descriptor{MediaType: l.Blob.MediaType}
	return l
}

// rewrite decodes, filters and encodes.
func (t *transfer) rewrite(ctx context.Context, r io.Reader, enc Encoding) error {
	plain, _, err := codec.NewReader(r)
	if err != nil {
		return on(SourceSide, err)
	}
	defer plain.Close()
	enc.Compression = enc.Compression.Writable()
	w, err := t.writer(ctx, t.fresh())
	if err != nil {
		return err
	}
	defer w.Close()
	stored, err := newStored(w, enc)
	if err != nil {
		return err
	}
	end := tarstream.NewWriter(stored.plain())
	chain, err := t.build(ctx, end)
	if err != nil {
		return err
	}
	was := sha256.New()
	if err := t.read(io.TeeReader(t.limited(plain), was), chain); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	if err := t.checkDiffID(digest.NewDigest(digest.SHA256, was)); err != nil {
		return err
	}
	blob, diffID, err := stored.close()
	if err != nil {
		return err
	}
	if err := w.Commit(ctx, blob, diffID); err != nil {
		return on(SinkSide, err)
	}
	t.out.How, t.out.plain = HowRecoded, 0
	if end.Changed() {
		t.out.How, t.out.Why, t.out.plain = HowRewritten, t.why, stored.size
	}
	t.out.Result, t.out.ResultDiffID, t.out.compression = blob, diffID, enc.Compression
	return nil
}

// read runs the chain; what is neither the source's nor the sink's fault is
// the filter's, and a malformed tar is the source's.
func (t *transfer) read(plain io.Reader, chain tarstream.Handler) error {
	return readError(tarstream.Read(plain, t.run.limits.Entries, chain))
}

// readError marks an error of tarstream.
func readError(err error) error {
	switch {
	case err == nil, errors.Is(err, tarstream.ErrChanged), errors.Is(err, deflate.ErrFallback), errors.Is(err, zstdframe.ErrFallback):
		return err
	case errors.Is(err, tarstream.ErrFormat), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, tarstream.ErrTooManyEntries):
		return on(SourceSide, err)
	}
	return on(FilterSide, err)
}

// checkDiffID compares the plain tar with what the config says of it.
func (t *transfer) checkDiffID(got digest.Digest) error {
	if want := t.layer.DiffID; want != "" && want.Algorithm() == digest.SHA256 && want != got {
		return on(SourceSide, DigestError("diff ID of its plain tar", want, got))
	}
	t.out.SourceDiffID, t.hashed = got, true
	return nil
}
