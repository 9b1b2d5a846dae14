package tarstream

import "io"

// A Handler receives the entries of a tar in their order. Not passing an entry
// on to the next handler removes it; passing on one of another Reader's
// entries inserts it.
type Handler interface {
	// Entry receives one entry. It is valid until Entry returns.
	Entry(e *Entry) error
	// End receives what follows the last entry: the end-of-archive blocks and
	// padding. A handler that passes on another reader changes it.
	End(rest io.Reader) error
}
