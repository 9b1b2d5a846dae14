package pipeline

import (
	"context"
	"io"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/internal/filecopy"
)

// A Section is bytes that lie in a file as they are.
type Section struct {
	File      *os.File
	Off, Size int64
}

// InFile is implemented by what a layer is read from where its bytes lie in a file:
// Verified and Named of a regular file are such readers. False means that they have
// to be read.
type InFile interface {
	Section() (Section, bool)
}

// FileWriter is a LayerWriter of a sink that keeps layers in files. A layer that
// nothing changes goes there by the kernel.
type FileWriter interface {
	LayerWriter
	// Place is where the layer belongs, before anything was written: from Off on in
	// File, which may be read too. Size counts for nothing.
	Place() (Section, bool)
	// Placed says that all n bytes of the layer are at that place. Who does not say
	// so writes the layer from its start.
	Placed(n int64)
}

// leastCopied is the size from which on a layer is copied by the kernel: less is in
// one buffer.
const leastCopied = copySize

// copyStep is how much the kernel copies at once. In between come the progress and
// the end of the context; a multiple of any file system's block.
const copyStep = 8 << 20

// fileToFile copies a layer as it came from file to file, if both ends are such. It
// is false for whatever goes wrong, so that the layer goes the ordinary way, whose
// errors say more.
//
// What is hashed is the copy, beside the copying, while it is still in memory: so
// what was checked is what lies at the destination.
func (t *transfer) fileToFile(ctx context.Context, from Section, w LayerWriter) bool {
	to, ok := w.(FileWriter)
	if !ok || from.Size < leastCopied || from.Size != t.layer.Blob.Size {
		return false
	}
	place, ok := to.Place()
	if !ok {
		return false
	}
	copied := make(chan int64, 1+from.Size/copyStep) // its sender never waits
	sum := make(chan digest.Digest, 1)
	go func() { sum <- hashCopied(t.layer.Blob.Digest.Algorithm(), place, copied) }()
	all := t.copySteps(ctx, from, place, copied)
	close(copied)
	if got := <-sum; !all || got != t.layer.Blob.Digest {
		return false
	}
	to.Placed(from.Size)
	return true
}

// copySteps copies, and says how far it is.
func (t *transfer) copySteps(ctx context.Context, from, to Section, copied chan<- int64) bool {
	for at := int64(0); at < from.Size; {
		if ctx.Err() != nil {
			return false
		}
		step := min(copyStep, from.Size-at)
		for end := at + step; at < end; {
			n, err := filecopy.Range(to.File, to.Off+at, from.File, from.Off+at, end-at)
			if err != nil || n == 0 {
				return false
			}
			at += n
		}
		copied <- at
		t.run.opts.Events.emit(Event{Kind: EventLayerBytes, Layer: t.layer.Blob.Digest, Done: at, Total: from.Size})
	}
	return true
}

// hashCopied hashes what was copied, as far as it was; "" if it cannot be read.
func hashCopied(a digest.Algorithm, place Section, copied <-chan int64) digest.Digest {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	sum := a.Hash()
	done, ok := int64(0), true
	for upTo := range copied {
		for ok && done < upTo {
			n, err := place.File.ReadAt((*buf)[:min(int64(len(*buf)), upTo-done)], place.Off+done)
			_, _ = sum.Write((*buf)[:n]) // a hash never fails
			done += int64(n)
			ok = err == nil || err == io.EOF && done == upTo
		}
	}
	if !ok {
		return ""
	}
	return digest.NewDigest(a, sum)
}
