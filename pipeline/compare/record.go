package compare

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/occystrap/occystrap/pipeline/internal/layerpath"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// A kind is what an entry of a layer is.
type kind byte

const (
	file kind = iota + 1
	dir
	symlink
	hardlink
	char
	block
	fifo
	other
	gone    // deletes its place
	opaque  // deletes what its place holds below
	implied // a directory that a layer has something in, and perhaps no entry for
)

// isBare: the kind says all.
func (k kind) isBare() bool { return k >= gone }

// kinds are their names in results.
var kinds = map[kind]string{
	file: "file", dir: "directory", symlink: "symlink", hardlink: "hardlink",
	char: "character device", block: "block device", fifo: "fifo", other: "unknown",
}

// types are the kinds of the type flags; what is not here may be a regular file.
var types = map[byte]kind{
	tarstream.TypeDir: dir, tarstream.TypeLink: hardlink, tarstream.TypeSymlink: symlink,
	tarstream.TypeChar: char, tarstream.TypeBlock: block, tarstream.TypeFifo: fifo,
}

// kindOf is what an entry is, and the place that it is about; 0 for one that is no
// part of the image.
func kindOf(h *tarstream.Header) (string, kind) {
	at := layerpath.Of(h.Name)
	k := types[h.Type]
	switch {
	case h.Type == tarstream.TypeGlobal:
		return "", 0
	case k == dir, k == hardlink:
		return at, k
	}
	switch hidden, what := layerpath.Whiteout(at); what {
	case layerpath.HidesPlace:
		return hidden, gone
	case layerpath.HidesContent:
		return hidden, opaque
	case layerpath.Void:
		return "", 0
	case layerpath.HidesNothing:
	}
	switch {
	case k != 0:
		return at, k
	case h.IsRegular():
		return at, file
	}
	return at, other
}

// separator takes the place of the slash in sorted names, so that what a directory
// holds comes right after it. No name has a NUL.
const separator = 0

func keyOf(place string) []byte {
	k := []byte(place)
	for i, c := range k {
		if c == '/' {
			k[i] = separator
		}
	}
	return k
}

func placeOf(key []byte) string {
	p := slices.Clone(key)
	for i, c := range p {
		if c == separator {
			p[i] = '/'
		}
	}
	return string(p)
}

// permissions are the mode bits that tar and file systems have in common.
const permissions = 0o7777

// xattrRecord is how PAX headers name extended attributes.
const xattrRecord = "SCHILY.xattr."

// shortSum is how much of the digest of an attribute's value is kept.
const shortSum = 16

// appendRecord writes what an entry is: equal bytes are equal entries. Hard links
// are a linker's.
func appendRecord(b []byte, k kind, h *tarstream.Header, sum []byte) []byte {
	b = append(b, byte(k))
	if k.isBare() {
		return b
	}
	b = binary.AppendUvarint(b, uint64(h.Mode&permissions))
	b = binary.AppendVarint(b, int64(h.UID))
	b = binary.AppendVarint(b, int64(h.GID))
	b = binary.AppendVarint(b, h.ModTime.Unix())
	b = binary.AppendUvarint(b, uint64(h.ModTime.Nanosecond()))
	switch k { //nolint:exhaustive // the others have nothing more
	case file:
		b = binary.AppendVarint(b, h.Size)
		b = append(b, sum...)
	case symlink:
		b = appendString(b, h.Linkname)
	case char, block:
		b = binary.AppendVarint(b, h.Devmajor)
		b = binary.AppendVarint(b, h.Devminor)
	}
	return appendXattrs(b, h.Records)
}

// appendLinked writes what a hard link is, given the record of its target. Where that
// is a link itself, it tells its own target already.
func appendLinked(b, record []byte, target string) []byte {
	b = append(b, record...)
	if f, err := decode(record); err == nil && f.Link == "" {
		b = appendString(b, target)
	}
	return b
}

func appendXattrs(b []byte, records map[string]string) []byte {
	var names []string
	for name := range records {
		if strings.HasPrefix(name, xattrRecord) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	b = binary.AppendUvarint(b, uint64(len(names)))
	for _, name := range names {
		sum := sha256.Sum256([]byte(records[name]))
		b = appendString(b, name[len(xattrRecord):])
		b = append(b, sum[:shortSum]...)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// A decoder takes a record apart that appendRecord has written.
type decoder struct {
	b   []byte
	bad bool
}

var errRecord = errors.New("a record in the temporary file is damaged")

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.bad, n = true, uint64(len(d.b))
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string { return string(d.take(d.uvarint())) }

// decode makes a File of a record.
func decode(record []byte) (*File, error) {
	d := &decoder{b: record}
	k := kind(0)
	if first := d.take(1); len(first) > 0 {
		k = kind(first[0])
	}
	f := &File{Type: kinds[k], kind: k}
	switch k { //nolint:exhaustive // the others go on below
	case implied:
		f.Type, f.kind, f.Implied = kinds[dir], dir, true
		return f, d.err()
	case hardlink:
		f.Link = d.string()
		return f, d.err()
	}
	f.Mode = uint32(d.uvarint())
	f.UID, f.GID = d.varint(), d.varint()
	seconds := d.varint()
	f.Time = time.Unix(seconds, int64(d.uvarint())).UTC()
	switch k { //nolint:exhaustive // as in appendRecord
	case file:
		f.Size = d.varint()
		copy(f.Sum[:], d.take(sha256.Size))
	case symlink:
		f.Target = d.string()
	case char, block:
		f.Major, f.Minor = d.varint(), d.varint()
	}
	for n := d.uvarint(); n > 0 && !d.bad; n-- {
		x := Xattr{Name: d.string()}
		copy(x.sum[:], d.take(shortSum))
		f.Xattrs = append(f.Xattrs, x)
	}
	if len(d.b) > 0 && !d.bad {
		f.Link = d.string()
	}
	return f, d.err()
}

func (d *decoder) err() error {
	if d.bad {
		return errRecord
	}
	return nil
}
