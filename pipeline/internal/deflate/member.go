package deflate

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// The parts of a gzip member (RFC 1952, 2.3).
const (
	memberFixed   = 10 // bytes of a header without its optional fields
	memberTrailer = 8

	flagHeaderCRC = 1 << 1
	flagExtra     = 1 << 2
	flagName      = 1 << 3
	flagComment   = 1 << 4
	flagReserved  = 0xe0

	methodDeflate = 8
)

// memberMost bounds a member's header: 64 KiB of extra fields, a name and a
// comment. No tool writes a hundredth of it; memberUsual is enough for those.
const (
	memberMost  = 128 << 10
	memberUsual = 512
)

// memberHeader reads a member's header and returns its bytes, which are valid
// until the input moves. Nil is the end of the stream.
func (d *decoder) memberHeader(first bool, keep int64) ([]byte, error) {
	if err := d.need(memberUsual, keep); err != nil {
		return nil, err
	}
	i := d.bit() >> 3
	h := d.in[i:max(i, d.end)]
	at := d.base + int64(i)
	switch magic := []byte{0x1f, 0x8b, methodDeflate}; {
	case len(h) == 0 && !first:
		return nil, nil
	case !bytes.HasPrefix(h, magic[:min(len(h), len(magic))]):
		return nil, corrupt(at, "no gzip header")
	case len(h) < memberFixed:
		return nil, truncated(at + int64(len(h)))
	case h[3]&flagReserved != 0:
		return nil, corrupt(at, "a gzip header of a kind that nobody writes")
	}
	n, ok := memberLength(h)
	if !ok && !d.eof {
		if err := d.need(memberMost, keep); err != nil {
			return nil, err
		}
		i = d.bit() >> 3
		h = d.in[i:d.end]
		n, ok = memberLength(h)
	}
	switch {
	case !ok && !d.eof:
		return nil, corrupt(at, "a gzip header without end")
	case !ok:
		return nil, truncated(at + int64(len(h)))
	}
	if h[3]&flagHeaderCRC != 0 && uint16(crc32.ChecksumIEEE(h[:n-2])) != binary.LittleEndian.Uint16(h[n-2:]) {
		return nil, corrupt(at, "the checksum of a gzip header")
	}
	d.seek((i + n) * 8)
	return h[:n], nil
}

// memberLength is the length of the header that h begins with; false: h is too
// short.
func memberLength(h []byte) (n int, ok bool) {
	n = memberFixed
	if h[3]&flagExtra != 0 {
		if len(h) < n+2 {
			return 0, false
		}
		n += 2 + int(binary.LittleEndian.Uint16(h[n:]))
	}
	for _, f := range []byte{flagName, flagComment} {
		if h[3]&f == 0 {
			continue
		}
		if n > len(h) {
			return 0, false
		}
		end := bytes.IndexByte(h[n:], 0)
		if end < 0 {
			return 0, false
		}
		n += end + 1
	}
	if h[3]&flagHeaderCRC != 0 {
		n += 2
	}
	return n, n <= len(h)
}

// isFooter says whether a member's header has the extra field by which the
// reader of an eStargz layer finds the table of contents, in an empty member at
// the very end (stargz-snapshotter docs/estargz.md, "Footer").
// The first version of the format had no subfield around its magic.
func isFooter(h []byte) bool {
	if h[3]&flagExtra == 0 || len(h) < memberFixed+2 {
		return false
	}
	extra := h[memberFixed+2:]
	extra = extra[:min(len(extra), int(binary.LittleEndian.Uint16(h[memberFixed:])))]
	return bytes.HasSuffix(extra, []byte("STARGZ"))
}

// trailer reads the checksum and the length that end a member.
func (d *decoder) trailer(keep int64) (sum, size uint32, err error) {
	if err := d.need(memberTrailer+8, keep); err != nil {
		return 0, 0, err
	}
	d.align()
	i := d.bit() >> 3
	if i+memberTrailer > d.end {
		return 0, 0, truncated(d.base + int64(d.end))
	}
	d.seek((i + memberTrailer) * 8)
	return binary.LittleEndian.Uint32(d.in[i:]), binary.LittleEndian.Uint32(d.in[i+4:]), nil
}
