package pipeline

import (
	"errors"
	"fmt"
)

// Errors that callers decide by.
var (
	// ErrNotFound: an image, manifest or blob is not there.
	ErrNotFound = errors.New("not found")
	// ErrNoPlatform, an ErrNotFound: there are images, for other platforms than were
	// asked for.
	ErrNoPlatform = fmt.Errorf("%w", ErrNotFound)
	// ErrDigest: bytes are not those that their digest or diff ID promises.
	ErrDigest = errors.New("digest mismatch")
	// ErrLimit: a limit that guards against hostile input was passed.
	ErrLimit = errors.New("over the limit")
)

// A Side is the part of a run that an error comes from.
type Side string

// The sides of a run.
const (
	SourceSide Side = "source"
	FilterSide Side = "filter"
	SinkSide   Side = "destination"
)

// An Error tells which side of a run failed.
type Error struct {
	Side Side
	Err  error
}

func (e *Error) Error() string { return string(e.Side) + ": " + e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// on marks err with the side it came from, unless it is marked already.
func on(s Side, err error) error {
	var have *Error
	if err == nil || errors.As(err, &have) {
		return err
	}
	return &Error{Side: s, Err: err}
}

// A RefusedError is a filter's judgement that an image must not go on. Its message is
// one sentence that tells why.
type RefusedError struct{ message string }

func (e *RefusedError) Error() string { return e.message }

// Refused returns a RefusedError with a formatted message.
func Refused(format string, args ...any) error {
	return &RefusedError{message: fmt.Sprintf(format, args...)}
}

// A UsageError is a mistake in what the user wrote: a URI, a filter, an option.
// Its message names the mistake and the remedy in one sentence.
type UsageError struct{ message, option string }

func (e *UsageError) Error() string { return e.message }

// Option is the filter's option whose value is the mistake, for those who know
// where it was written; "" where it is another one.
func (e *UsageError) Option() string { return e.option }

// Usage returns a UsageError with a formatted message.
func Usage(format string, args ...any) error {
	return &UsageError{message: fmt.Sprintf(format, args...)}
}

// BadValue returns the UsageError for a filter's option with a value that it does
// not take; takes ends the sentence "it takes …".
func BadValue(option, value, takes string) error {
	return &UsageError{message: fmt.Sprintf("filter option %s is %q; it takes %s", option, value, takes), option: option}
}

// DigestError says whose digest was wrong, what was promised and what came.
func DigestError(what string, want, got fmt.Stringer) error {
	return fmt.Errorf("%s: %w: expected %s, got %s", what, ErrDigest, want, got)
}
