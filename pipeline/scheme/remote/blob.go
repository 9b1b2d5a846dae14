package remote

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// A blob reads one blob of the registry, verifies it, and goes on where it was
// when the connection is cut.
type blob struct {
	ctx      context.Context //nolint:containedctx // io.Reader has no context; this one is Open's
	client   *client
	desc     ocispec.Descriptor
	verifier digest.Verifier // nil: the caller checks
	body     io.ReadCloser   // nil: to be connected
	offset   int64
	failures int   // since progress was last made
	restart  int64 // the offset at the last failure
	cut      error // to be mended at the next read
	done     error // the end, once reached
	told     int64 // what Size tells
}

// Size is that of the whole blob in bytes, as the registry told when it was opened;
// -1 if it did not.
func (b *blob) Size() int64 { return b.told }

// enoughProgress makes the retries count anew. A smaller number would let a
// server that sends a byte per connection keep us for ever.
const enoughProgress = 1 << 20

func (b *blob) name() string {
	return fmt.Sprintf("blob %s of %s", b.desc.Digest, b.client.ref.Origin())
}

// Read reads stored bytes; the end is io.EOF only if all was as promised.
func (b *blob) Read(p []byte) (int, error) {
	for b.done == nil {
		n, err := b.read(p)
		b.offset += int64(n)
		if n > 0 && b.verifier != nil {
			_, _ = b.verifier.Write(p[:n]) // a hash takes everything
		}
		b.done = err
		if n > 0 || err == nil && len(p) == 0 {
			return n, b.done
		}
	}
	return 0, b.done
}

// read reads once. It returns 0 and nil after a cut that was mended.
func (b *blob) read(p []byte) (int, error) {
	left := b.left()
	if left == 0 {
		return 0, b.finish()
	}
	if err := b.cut; err != nil {
		b.cut = nil
		return 0, b.mend(err)
	}
	if b.body == nil {
		if err := b.connect(); err != nil {
			return 0, b.mend(err)
		}
		left = b.left()
	}
	n, err := b.body.Read(p[:min(int64(len(p)), left)])
	if errors.Is(err, io.EOF) && b.desc.Size == unknownSize {
		b.desc.Size = b.offset + int64(n)
		return n, nil
	}
	if errors.Is(err, io.EOF) && int64(n) < left {
		err = &cutError{fmt.Errorf("%w after %d of %d bytes", io.ErrUnexpectedEOF, b.offset+int64(n), b.desc.Size)}
	}
	if err == nil || errors.Is(err, io.EOF) {
		return n, nil
	}
	if n > 0 {
		b.cut = err // hand out what came first
		return n, nil
	}
	return 0, b.mend(err)
}

// finish checks that nothing follows the last byte, and the digest.
func (b *blob) finish() error {
	var one [1]byte
	for b.body != nil {
		n, err := b.body.Read(one[:])
		if n > 0 {
			return fmt.Errorf("%s: %w: the registry sends more than its %d bytes", b.name(), pipeline.ErrDigest, b.desc.Size)
		}
		if err != nil { // the end, or a cut after all had come
			b.hangUp()
		}
	}
	if b.verifier != nil && !b.verifier.Verified() {
		return fmt.Errorf("%s: %w: the registry sends other bytes", b.name(), pipeline.ErrDigest)
	}
	return io.EOF
}

// mend makes ready for another connection after an error, or returns it.
func (b *blob) mend(err error) error {
	b.hangUp()
	if b.recover(err) {
		return nil
	}
	if stopped := context.Cause(b.ctx); stopped != nil {
		return stopped
	}
	return b.client.explain(err, b.name())
}

// recover waits before another attempt; false says that there is none.
func (b *blob) recover(err error) bool {
	if b.offset-b.restart >= enoughProgress {
		b.failures = 0
	}
	b.restart = b.offset
	if !passes(err) || b.failures >= b.client.cfg.Retries || b.client.tooLong(err) {
		return false
	}
	wait := b.client.wait(b.failures, err)
	b.failures++
	b.client.detail("%s: %v; going on at byte %d in %s", b.name(), err, b.offset, wait)
	return pause(b.ctx, wait) == nil
}

func (b *blob) hangUp() {
	if b.body != nil {
		_ = b.body.Close() // what was read is verified by digest
		b.body = nil
	}
}

// Close gives the connection up.
func (b *blob) Close() error {
	b.hangUp()
	if b.done == nil {
		b.done = errClosed
	}
	return nil
}
