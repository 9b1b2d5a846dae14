package tarstream

import "io"

// A Handler receives the entries of a tar in their order. Not passing an entry
// on to the next handler removes it; passing on one of another Reader's
// entries inserts it.
type Handler interface {
	// Entry receives one entry. It and what Header and Edit return are valid until
	// Entry returns: the next one stands in the same memory. Strings and Records
	// may be kept.
	Entry(e *Entry) error
	// End receives what follows the last entry: the end-of-archive blocks and
	// padding. A handler that passes on another reader changes it.
	End(rest io.Reader) error
}
