// Package zstdframe edits the plain bytes of a zstd stream without compressing
// again what did not change. What to change, a Patcher says; what the bytes
// mean, it leaves to the Patcher.
//
//	stored ─▶ frames ─▶ decode ─▶ Patcher ─┬▶ unchanged: the stored bytes ─▶ dst
//	                      └▶ OldHash       └▶ changed: compressed anew ────▶ dst
//
// The unit of copying is what can be cut off without harm:
//
//   - A frame that declares its content size (RFC 8878, 3.1.1.1.4) is copied
//     whole, or compressed anew whole.
//   - A frame that does not may end after any block: its blocks are copied up
//     to the first one that changes, an empty last block ends it there
//     (3.1.1.2), and the rest is compressed anew. Blocks behind a change are
//     never copied: they refer to what is before them.
//
// So streams of one frame for each file (zstd:chunked, eStargz with zstd,
// seekable) keep the frames of all files, and a stream of one frame is copied
// up to the first change. Every byte is decoded, also of what is copied: for
// the hashes, and because a stranger's frames are trusted only when they were.
package zstdframe

import (
	"cmp"
	"errors"
	"io"
)

var (
	// ErrFallback means that the stream is sound as far as it was read, but
	// cannot be edited in bounded memory without compressing anew what may turn
	// out to be unchanged: nothing has changed so far, and more than 4 MiB are
	// held back because they may change yet. That is so for a large frame that
	// declares its size, has regions that the Patcher wants to see, and no
	// change near its start; and for a Patcher that leaves more than 4 MiB
	// unsettled. The caller throws away what was written and compresses the
	// stream anew.
	ErrFallback = errors.New("this zstd stream is better compressed anew")
	// ErrLimit means that the stream has more plain bytes than Options.Limit.
	ErrLimit = errors.New("more plain bytes than allowed")
	// ErrFormat means that what was read is no sound zstd stream.
	ErrFormat = errors.New("not a sound zstd stream")
	// ErrPatcher means that the Patcher broke its contract.
	ErrPatcher = errors.New("wrong edit of a zstd stream")
)

const (
	// maxRegion is how much a Patcher may ask to see at once.
	maxRegion = 64 << 10
	// maxHeld bounds the stored and plain bytes that wait for the Patcher's
	// verdict: a few buffers, and more than the largest header of a tar entry.
	maxHeld = 4 << 20
	// maxWindow bounds the memory of the decoder, as in codec: 8 MiB is what RFC
	// 8878 recommends every decoder to support, `zstd --long` uses 128 MiB.
	maxWindow = 128 << 20
	// defaultLevel is that of codec.
	defaultLevel = 3
)

// An Ender is a Patcher that is told how many bytes the old plain stream has,
// before it is shown a region that the stream does not reach.
type Ender interface{ End(size int64) }

// A Patcher decides what becomes of the bytes of a plain stream, region by
// region, in the order of the stream.
type Patcher interface {
	// Next names the next region that the patcher wants to see: n bytes from
	// offset off of the old plain stream, at most 64 KiB, behind the last region
	// and behind all that was replaced. n == 0 says that it has seen enough:
	// what was not replaced stays as it is, to the end. settled is the offset,
	// at most off, before which nothing will be replaced any more.
	Next() (off int64, n int, settled int64)
	// Patch receives the region: fewer bytes only where the old stream ends,
	// possibly none. It calls replace for what changes: the old bytes [off,
	// off+old) become with. old == 0 inserts; an empty with deletes; old < 0
	// goes through the end of the stream, and then Next is not called again.
	// Calls come in ascending order of off, never before settled, and never
	// overlap. What they replace may reach beyond the region, up to the next
	// one. with is only read during the call. Insertions at the same offset
	// follow each other in the order of the calls and stand before a replacement
	// that starts there. An error of replace, or of Patch, ends the transcoding.
	Patch(region []byte, replace func(off, old int64, with []byte) error) error
}

// Options of a transcoding; the zero value works.
type Options struct {
	Level   int       // of what is compressed anew; 0 stands for 3
	Limit   int64     // of the old plain bytes; 0 is none; more is ErrLimit
	OldHash io.Writer // if set, receives the old plain bytes
	NewHash io.Writer // if set, receives the new plain bytes
	hold    int       // in tests, stands for maxHeld
}

// Result says what a transcoding did. Sizes are in bytes.
type Result struct {
	OldPlain, NewPlain int64
	Stored             int64 // written to dst
	// Changed says whether the Patcher replaced anything. If not, dst got
	// exactly the bytes of src.
	Changed bool
	// Frames counts the frames of src, skippable ones too. Each is one of
	// Copied (whole), Recompressed (at least in part) and Dropped (nothing of it
	// is left).
	Frames, Copied, Recompressed, Dropped int
}

// Transcode copies the zstd stream src to dst with the edits that p asks for.
// It reads src to its end and verifies all of it: after an error, what was
// written is worth nothing. The output depends on the bytes of src, on p and
// on the level alone. An error of src, dst or p is wrapped as it came.
func Transcode(dst io.Writer, src io.Reader, p Patcher, opt Options) (Result, error) {
	if opt.OldHash == nil {
		opt.OldHash = io.Discard
	}
	if opt.NewHash == nil {
		opt.NewHash = io.Discard
	}
	out := &output{dst: dst, level: opt.Level, hash: opt.NewHash}
	e := &editor{p: p, out: out, hash: opt.OldHash, limit: opt.Limit, hold: cmp.Or(opt.hold, maxHeld)}
	err := transcode(src, e)
	res := e.res
	res.OldPlain, res.NewPlain, res.Stored, res.Changed = e.pos, out.plain, out.stored, e.changed
	return res, err
}

func transcode(src io.Reader, e *editor) error {
	if err := e.next(); err != nil {
		return err
	}
	d, err := newDecoding(src, e)
	if err != nil {
		return err
	}
	defer d.close()
	for {
		more, err := d.frame()
		if err != nil {
			return err
		}
		if !more {
			return e.end()
		}
	}
}
