package tarstream

import (
	"errors"
	"io"
	"iter"
)

// An Editor says what a chain of handlers changes in a tar whose headers alone
// it gets to see. It is for whoever holds the tar in a form in which looking at
// content, or moving it, costs more than passing over it:
//
//	Next: the next header ─▶ Patch: parser ─▶ Handler ─▶ Handler ─▶ replace
//
// Next and Patch are called by turns, until Next names no region or Patch fails.
// The bytes that this leaves behind are those that Read and a Writer at the end
// of the same chain write. Parser, limits and errors are those of Read where no
// handler reads content. An Editor is for one stream and one goroutine at a time.
type Editor struct {
	s      *stream
	src    *asking
	head   Handler // of the chain
	splice *splicer

	resume func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool

	// While the run waits: what it asks for. While Patch runs: the answer.
	off     int64
	n       int
	region  []byte
	replace func(off, old int64, with []byte) error

	size int64 // of the old stream; negative: not told
	err  error // that the run ended with
}

var errClosed = errors.New("the editor was closed")

// NewEditor returns an Editor for a tar of at most limit entries; 0 is no limit.
// Chain gets the handler that has to stand at the end, and returns the first.
// Close must be called.
func NewEditor(limit int64, chain func(end Handler) (Handler, error)) (*Editor, error) {
	e := &Editor{size: -1}
	e.src = &asking{ed: e}
	e.s = &stream{src: e.src, limit: limit}
	e.splice = &splicer{ed: e}
	var err error
	if e.head, err = chain(e.splice); err != nil {
		return nil, err
	}
	e.resume, e.stop = iter.Pull(e.run)
	e.resume() // to the first question
	return e, nil
}

// Next names the region of the old stream that Patch has to get next: n bytes
// from off, at most 64 KiB. N is 0 when nothing more will be replaced, or when
// Patch failed. Before settled, which is at most off, nothing will be replaced
// any more.
func (e *Editor) Next() (off int64, n int, settled int64) { return e.off, e.n, e.splice.at }

// End tells the length of the old stream. It has to come before the Patch of a
// region that lies wholly behind the end, from which nobody could tell how much
// of the content before it is missing.
func (e *Editor) End(size int64) { e.size = size }

// Patch takes the region that Next named, of which only the end of the stream
// may cut something off, and calls replace for what has to change: with takes
// the place of the old bytes from off to off+old or, where old is negative, to
// the end of the stream. With old 0 it is inserted, before what replaces bytes
// at the same offset and after what was inserted there earlier. Calls come in
// the order of offsets, never before settled, and may reach to the next region;
// where the tar turns out to be cut off, beyond its end. With is at most 32 KiB
// of an insertion, or the headers of an entry, which may be over 1 MiB.
//
// An error is that of the tar, of a handler or of replace. ErrNeedsContent says
// that this chain cannot do with headers, and has to be run by Read.
func (e *Editor) Patch(region []byte, replace func(off, old int64, with []byte) error) error {
	if e.n == 0 {
		return e.err
	}
	e.region, e.replace = region[:min(len(region), e.n)], replace
	if _, more := e.resume(); !more {
		e.off, e.n = e.splice.at, 0
	}
	e.region, e.replace = nil, nil
	return e.err
}

// Changed says whether what comes out differs from what was read.
func (e *Editor) Changed() bool { return e.splice.watch.changed }

// Close ends the Editor, wherever it is; again and again is harmless.
func (e *Editor) Close() {
	e.stop()
	e.off, e.n = e.splice.at, 0
	if e.err == nil {
		e.err = errClosed
	}
}

// run is the coroutine: it waits wherever the parser or a handler wants bytes.
func (e *Editor) run(yield func(struct{}) bool) {
	e.yield = yield
	e.err = e.s.run(editing{e})
	if stuck := e.s.stuck; stuck != nil && !errors.Is(e.err, stuck) {
		e.err = stuck // whatever the handlers made of it
	}
}

// ask waits for a region. It is valid until the next question.
func (e *Editor) ask(off int64, n int) ([]byte, error) {
	if e.s.stuck != nil {
		return nil, e.s.stuck
	}
	e.off, e.n = off, n
	if !e.yield(struct{}{}) {
		return nil, errClosed
	}
	return e.region, nil
}

// editing stands before the chain and sees when it is done with an entry.
type editing struct{ *Editor }

var _ Handler = editing{}

// Entry shows the entry to the chain.
func (e editing) Entry(entry *Entry) error {
	if err := e.head.Entry(entry); err != nil {
		return err
	}
	return e.splice.passed(entry.next())
}

// End shows the chain what follows the entries.
func (e editing) End(rest io.Reader) error {
	e.splice.rest = rest
	e.src.keep = true
	if err := e.head.End(rest); err != nil {
		return err
	}
	return e.splice.finish()
}
