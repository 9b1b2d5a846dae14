package tarstream

import (
	"fmt"
	"slices"
)

const (
	// maxExtension bounds what the extension headers and the sparse map of one
	// entry hold together. archive/tar allows as much to each of them; real
	// ones have a few KiB, hostile ones could have gigabytes.
	maxExtension = 1 << 20
	// maxExtensions bounds how many of them may stand before one entry.
	maxExtensions = 16
	// maxKeys bounds the different PAX keys of an entry, which stand in maps
	// and take some 300 bytes each there. Repeats do not count: the map of a
	// sparse file in format 0.0 consists of them.
	maxKeys = 10_000
	// maxName bounds names and link targets, which filters remember: 16 times
	// PATH_MAX, beyond which no file system takes a path. archive/tar goes up
	// to 1 MiB.
	maxName = 64 << 10
)

// extensions are what stood before and behind the header proper.
type extensions struct {
	size               int64 // bytes, of maxExtension
	longName, longLink *string
	records            []record
	last               map[string]string // the records by key
}

// extension reads the content of an x, L or K header.
func (e *Entry) extension(kind byte, size int64) error {
	content, err := e.content(size)
	if err != nil {
		return err
	}
	switch kind {
	case 'L':
		s := text(content)
		e.ext.longName = &s
	case 'K':
		s := text(content)
		e.ext.longLink = &s
	case 'x':
		if e.ext.last != nil {
			return fmt.Errorf("%w: two PAX headers for one entry", ErrFormat)
		}
		return e.ext.read(content)
	}
	return nil
}

// read takes the records of a PAX header.
func (x *extensions) read(content []byte) (err error) {
	if x.records, err = parseRecords(content); err != nil {
		return err
	}
	x.last, err = lastValues(x.records)
	return err
}

// global reads a PAX global header as an entry of its own: daemons ignore its
// records, filters may not.
func (e *Entry) global(size int64) error {
	if e.ext.last != nil || e.ext.longName != nil || e.ext.longLink != nil {
		return fmt.Errorf("%w: extension header before a global header", ErrFormat)
	}
	content, err := e.content(size)
	if err != nil {
		return err
	}
	if err := e.ext.read(content); err != nil {
		return err
	}
	e.hdr.Type = TypeGlobal
	return e.applyRecords()
}

// content reads an extension's content and padding into raw.
func (e *Entry) content(size int64) ([]byte, error) {
	if size < 0 || size > maxExtension-e.ext.size {
		return nil, fmt.Errorf("%w: extension headers of more than %d bytes", ErrFormat, maxExtension)
	}
	e.ext.size += size
	at, padded := len(e.raw), int(roundUp(size))
	e.raw = slices.Grow(e.raw, padded)[:at+padded]
	if err := e.s.readFull(e.raw[at:]); err != nil {
		return nil, err
	}
	return e.raw[at : at+int(size)], nil
}

// sparseMap reads the further blocks of an old GNU sparse map.
func (e *Entry) sparseMap() error {
	more := fGNUMore.of(e.raw[e.main:])[0] != 0
	for more {
		b, err := e.content(blockSize)
		if err != nil {
			return err
		}
		more = fMapMore.of(b)[0] != 0
	}
	return nil
}
