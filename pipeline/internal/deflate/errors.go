package deflate

import (
	"errors"
	"fmt"
	"io"
)

// ErrCorrupt says that bytes are not those of a gzip stream.
var ErrCorrupt = errors.New("corrupt gzip stream")

// ErrFallback says that a stream cannot be edited in place: it has to be
// inflated, edited and compressed. Nothing is wrong with it.
var ErrFallback = errors.New("the compressed stream cannot be edited in place")

// ErrLimit says that a stream holds more plain bytes than Options.Limit.
var ErrLimit = errors.New("more plain bytes than the limit")

// ErrPatcher says that a Patcher broke its contract, or edits what the stream
// does not have.
var ErrPatcher = errors.New("an edit of what is not there")

// corrupt says what is wrong with the stream at a byte of it.
func corrupt(at int64, what string) error {
	return fmt.Errorf("%w at byte %d: %s", ErrCorrupt, at, what)
}

// truncated says that the stream ends at a byte, too early.
func truncated(at int64) error {
	return fmt.Errorf("gzip stream ends at byte %d: %w", at, io.ErrUnexpectedEOF)
}

// fallback says why a stream cannot be edited in place.
func fallback(why string) error { return fmt.Errorf("%w: %s", ErrFallback, why) }
