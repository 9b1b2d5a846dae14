package deflate

import (
	"crypto/sha256"
	"io"
	"math"
)

// A Patcher decides what becomes of the bytes of a plain stream, region by
// region, in the order of the stream.
type Patcher interface {
	// Next names the next region that the patcher wants to see: n bytes from
	// offset off of the old plain stream, at most MaxRegion. 0 bytes: it has seen
	// enough, and what was not replaced stays to the end. Settled is the offset,
	// at most off, before which nothing will be replaced any more.
	Next() (off int64, n int, settled int64)
	// Patch receives the region: fewer bytes than n, or none, only where the
	// stream ends. It calls replace for what changes: the old bytes from off to
	// off+old become with; old may be 0 (insertion), with may be empty
	// (deletion), and old < 0 is through the end of the stream. Calls come in
	// ascending order of off, none before settled, none in what was replaced; a
	// range may reach beyond the region up to the next one. Insertions at one
	// offset are appended, and stand before a replacement that starts there.
	Patch(region []byte, replace func(off, old int64, with []byte) error) error
}

// An Ender is a Patcher that is told how many bytes the old plain stream has,
// before it is shown a region that the stream does not reach.
type Ender interface{ End(size int64) }

// MaxRegion is the most bytes that a Patcher may ask for at once.
const MaxRegion = 64 << 10

// Options for Transcode. The zero value works.
type Options struct {
	// Limit is the most plain bytes that the old stream may have; 0 is no limit.
	// More is ErrLimit.
	Limit int64
}

// A Result says what Transcode did. Sizes are bytes.
type Result struct {
	Old, New Plain
	// Digest is the SHA-256 of what was written, Size its length.
	Digest [sha256.Size]byte
	Size   int64
	// Changed says whether the plain bytes differ; where they do not, the stream
	// that was written is the one that was read.
	Changed bool
	Stats   Stats
}

// Plain is the plain side of a stream.
type Plain struct {
	Digest [sha256.Size]byte
	Size   int64
}

// Stats count what was done, for tests and measurements.
type Stats struct {
	Members, Blocks int
	Tokens          int // that were written anew
	Inserts         int // pieces of new bytes, in blocks of their own
	Foreign         int // runs of tokens that their block has no words for
}

// Transcode copies the gzip stream src to dst with the edits that p asks for. It
// reads src to its end, verifies every checksum and length, and writes the same
// bytes for the same input and edits, however they arrive.
//
// An error is ErrFallback where the stream has to be compressed anew, ErrCorrupt
// or io.ErrUnexpectedEOF where it is damaged, ErrLimit, or what src, dst or p
// returned. What dst received is worth nothing then.
func Transcode(dst io.Writer, src io.Reader, p Patcher, opt Options) (Result, error) {
	t := newTranscoder(dst, src, p, opt)
	defer t.release()
	if err := t.run(); err != nil {
		return Result{}, err
	}
	return t.result()
}

// forever is an offset behind every stream.
const forever = math.MaxInt64 / 4

// transcoder is the state of one Transcode.
type transcoder struct {
	decoder
	page
	opt     Options
	patcher Patcher

	// What the patcher wants to see next, and where it may still edit.
	region  int64
	regionN int
	seen    int64 // where the last region that it saw ended
	settled int64

	cuts  cuts
	queue queue
	block *block // that is being read
	held  int64  // where a stored block that is being read began, else forever
	tabs  tables

	output
	span   span
	finder *finder
	stats  Stats
}

func newTranscoder(dst io.Writer, src io.Reader, p Patcher, opt Options) *transcoder {
	t := &transcoder{opt: opt, patcher: p, held: forever}
	t.input = newInput(src)
	t.init()
	t.out, t.dirty = t.buffer(), t.marks
	t.w = newBitWriter(dst)
	if opt.Limit == 0 {
		t.opt.Limit = forever
	}
	return t
}

// release ends the hashing and gives the windows back.
func (t *transcoder) release() {
	t.close()
	dropWindow(t.edits)
	dropWindow(t.out)
}

// plain is the offset in the old plain stream up to which it was decoded.
func (t *transcoder) plain() int64 { return t.base0 + int64(t.op) }

func (t *transcoder) run() error {
	if err := t.next(); err != nil {
		return err
	}
	for first := true; ; first = false {
		more, err := t.readMember(first)
		if err != nil {
			return err
		}
		if !more {
			return t.finish()
		}
	}
}

func (t *transcoder) result() (r Result, err error) {
	t.w.flush()
	if t.w.err != nil {
		return r, t.w.err
	}
	r.Old, r.New = t.hasher.plain()
	t.w.sum.Sum(r.Digest[:0])
	r.Size, r.Changed, r.Stats = t.w.n, t.edited, t.stats
	return r, nil
}
