package filter_test

import (
	"fmt"
	"strconv"
	"strings"
)

// rawHeader is a header block as a test spells it out, for what archive/tar
// does not write.
type rawHeader struct {
	name, link, magic string
	kind              byte
	size, mtime       int64
	patch             func(b []byte) // before the checksum
}

// block writes the header block and the content after it, padded.
func (r rawHeader) block(content string) []byte {
	b := make([]byte, 512)
	copy(b, r.name)
	copy(b[100:], "0000644\x000000000\x000000000\x00")
	copy(b[124:], fmt.Sprintf("%011o\x00%011o\x00", max(r.size, int64(len(content))), r.mtime))
	b[156] = r.kind
	copy(b[157:], r.link)
	copy(b[257:], r.magic)
	if r.patch != nil {
		r.patch(b)
	}
	setChecksum(b)
	b = append(b, content...)
	return append(b, make([]byte, (512-len(content)%512)%512)...)
}

func setChecksum(b []byte) {
	copy(b[148:], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
}

const (
	magicUSTAR = "ustar\x0000"
	magicGNU   = "ustar  \x00"
)

// pax is an extended header of the kind x or g with records.
func pax(kind byte, mtime int64, records ...string) []byte {
	var s strings.Builder
	for _, r := range records {
		n := len(r) + len(" \n") + 1
		for len(strconv.Itoa(n))+len(r)+len(" \n") != n {
			n++
		}
		fmt.Fprintf(&s, "%d %s\n", n, r)
	}
	return rawHeader{name: "././@PaxHeader", kind: kind, magic: magicUSTAR, mtime: mtime}.block(s.String())
}

// join puts raw pieces together and ends the archive.
func join(pieces ...[]byte) []byte {
	var out []byte
	for _, p := range pieces {
		out = append(out, p...)
	}
	return append(out, make([]byte, 1024)...)
}

// oddEntries are entries of every dialect, each with what a careless rewrite
// loses. Their times differ with mtime; all else does not.
func oddEntries(mtime int64) map[string][]byte {
	long := strings.Repeat("d/", 140) + "name" // more than 256 bytes
	octal := func(at int, v int64) func([]byte) {
		return func(b []byte) { copy(b[at:], fmt.Sprintf("%011o\x00", v)) }
	}
	concat := func(pieces ...[]byte) []byte { b := join(pieces...); return b[:len(b)-1024] }
	plain := func(name string) rawHeader {
		return rawHeader{name: name, kind: '0', magic: magicUSTAR, mtime: mtime}
	}
	return map[string][]byte{
		"ustar": plain("ustar").block("content"),
		"v7":    rawHeader{name: "v7", mtime: mtime}.block("old"),
		"v7dir": rawHeader{name: "v7dir/", mtime: mtime}.block(""),
		"gnu long name": concat(
			rawHeader{name: "././@LongLink", kind: 'L', magic: magicGNU}.block(long+"\x00"),
			rawHeader{name: long[:100], kind: '0', magic: magicGNU, mtime: mtime}.block("long")),
		"gnu base-256": rawHeader{name: "big", kind: '0', magic: magicGNU, mtime: mtime, patch: func(b []byte) {
			copy(b[108:], "\x80\x00\x00\x00\x7f\xff\xff\xff")
		}}.block("owner"),
		"gnu sparse": rawHeader{name: "sparse", kind: 'S', magic: magicGNU, mtime: mtime, patch: func(b []byte) {
			octal(386, 4096)(b)
			octal(398, 4)(b)
			octal(483, 1<<20)(b)
		}}.block("hole"),
		"pax capability": concat(
			pax('x', mtime, "SCHILY.xattr.security.capability=\x01\x00\x00\x02\x00\x20\x00\x00", "VENDOR.unknown=kept", fmt.Sprintf("mtime=%d.25", mtime), fmt.Sprintf("atime=%d", mtime+1)),
			plain("ping").block("elf")),
		"pax sparse 1.0": concat(
			pax('x', mtime, "GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=holes", "GNU.sparse.realsize=1048576"),
			plain("GNUSparseFile.0/holes").block("1\n4096\n4\n"+strings.Repeat("\x00", 512-9)+"hole")),
		"pax long name": concat(
			pax('x', mtime, "path="+long+"2"),
			plain(long[:100]).block("long")),
		"ustar prefix": rawHeader{name: "leaf", kind: '0', magic: magicUSTAR, mtime: mtime, patch: func(b []byte) {
			copy(b[345:], strings.Repeat("p", 150))
		}}.block("prefix"),
	}
}
