package tarstream

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A span is one field of a header block: its offset and length.
type span struct{ at, n int }

func (f span) of(b []byte) []byte { return b[f.at : f.at+f.n] }

// The fields of a header block: POSIX.1-2017 pax, "ustar Interchange Format";
// GNU tar manual, "Basic Tar Format"; star(5) for the last two.
var (
	fName      = span{0, 100}
	fMode      = span{100, 8}
	fUID       = span{108, 8}
	fGID       = span{116, 8}
	fSize      = span{124, 12}
	fModTime   = span{136, 12}
	fChecksum  = span{148, 8}
	fType      = span{156, 1}
	fLinkname  = span{157, 100}
	fMagic     = span{257, 8}
	fUname     = span{265, 32}
	fGname     = span{297, 32}
	fDevmajor  = span{329, 8}
	fDevminor  = span{337, 8}
	fPrefix    = span{345, 155}
	fGNUATime  = span{345, 12}
	fGNUCTime  = span{357, 12}
	fGNUMore   = span{482, 1} // a sparse map continues in further blocks
	fMapMore   = span{504, 1} // the same in such a block
	fStarATime = span{476, 12}
	fStarCTime = span{488, 12}
	fStarMagic = span{508, 4}
)

// A flavour is the dialect that a header block is written in.
type flavour int

const (
	v7 flavour = iota
	ustar
	star // ustar with access and change time in the end of the prefix
	gnu
	oldGo // gnu by its magic, but with ustar's prefix: Go before 1.8 (golang.org/issue/12594)
)

func flavourOf(b []byte) flavour {
	switch magic := fMagic.of(b); {
	case bytes.Equal(magic, []byte("ustar  \x00")):
		// As archive/tar does: what no time can be is a prefix.
		if !readable(fGNUATime.of(b)) || !readable(fGNUCTime.of(b)) {
			return oldGo
		}
		return gnu
	case !bytes.HasPrefix(magic, []byte("ustar\x00")):
		return v7
	case bytes.Equal(fStarMagic.of(b), []byte("tar\x00")):
		return star
	}
	return ustar
}

// readable says whether one of GNU's optional times is none or a number.
func readable(field []byte) bool {
	_, err := parseNumber(field)
	return field[0] == 0 || err == nil
}

// checksumOK accepts the sum of unsigned and, as old programs wrote it, of
// signed bytes.
func checksumOK(b []byte) bool {
	want, err := parseOctal(fChecksum.of(b))
	if err != nil {
		return false
	}
	sum := checksum(b)
	if want == sum {
		return true
	}
	for i, c := range b[:blockSize] {
		if c >= 0x80 && (i < fChecksum.at || i >= fChecksum.at+fChecksum.n) {
			sum -= 0x100
		}
	}
	return want == sum
}

// checksum adds up a header block with spaces for the checksum. It adds eight
// bytes at once, in four lanes of 16 bits, which a block does not fill.
func checksum(b []byte) int64 {
	const lanes = 0x00ff00ff00ff00ff
	var even, odd uint64
	for i := 0; i < blockSize; i += 8 {
		v := binary.LittleEndian.Uint64(b[i : i+8])
		even += v & lanes
		odd += v >> 8 & lanes
	}
	sum := int64(fChecksum.n * ' ')
	for _, c := range fChecksum.of(b) {
		sum -= int64(c)
	}
	for ; even|odd != 0; even, odd = even>>16, odd>>16 {
		sum += int64(even&0xffff + odd&0xffff)
	}
	return sum
}

// text is a NUL-terminated string.
func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// parseNumber reads octal digits, or GNU's base-256 form.
func parseNumber(b []byte) (int64, error) {
	if b[0]&0x80 != 0 {
		return parseBase256(b)
	}
	return parseOctal(b)
}

func parseOctal(b []byte) (int64, error) {
	for len(b) > 0 && (b[0] == ' ' || b[0] == 0) {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == 0) {
		b = b[:len(b)-1]
	}
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	var v int64
	for _, c := range b { // no field is long enough for more than 36 bits
		if c < '0' || c > '7' {
			return 0, fmt.Errorf("%w: %q is not an octal number", ErrFormat, b)
		}
		v = v<<3 | int64(c-'0')
	}
	return v, nil
}

func parseBase256(b []byte) (int64, error) {
	// Two's complement, big endian; bit 7 of the first byte only marks the form.
	wide := make([]byte, len(b))
	copy(wide, b)
	negative := b[0]&0x40 != 0
	fill := byte(0)
	if negative {
		fill = 0xff
	} else {
		wide[0] &= 0x7f
	}
	for len(wide) > 8 {
		if wide[0] != fill {
			return 0, fmt.Errorf("%w: number out of range", ErrFormat)
		}
		wide = wide[1:]
	}
	var full [8]byte
	for i := range full {
		full[i] = fill
	}
	copy(full[8-len(wide):], wide)
	v := int64(binary.BigEndian.Uint64(full[:]))
	if (v < 0) != negative {
		return 0, fmt.Errorf("%w: number out of range", ErrFormat)
	}
	return v, nil
}

// parseTime reads a PAX time: seconds with an optional fraction, of which more
// than nanoseconds is cut off.
func parseTime(s string) (time.Time, error) {
	whole, fraction, _ := strings.Cut(s, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || strings.Trim(fraction, "0123456789") != "" {
		return time.Time{}, fmt.Errorf("%w: PAX time %q", ErrFormat, s)
	}
	fraction = (fraction + "000000000")[:9]
	nanos, err := strconv.ParseInt(fraction, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: PAX time %q", ErrFormat, s)
	}
	if strings.HasPrefix(whole, "-") {
		nanos = -nanos
	}
	return time.Unix(seconds, nanos), nil
}
