package tarstream

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// paxSparseName is where sparse files of PAX format 0.1 and 1.0 keep their
// real name; the path holds a name of the archiver's making.
const paxSparseName = "GNU.sparse.name"

// maxOctal is the largest number that a 12-byte field holds in octal.
const maxOctal = 1<<33 - 1

// blocks are the header blocks with the edit applied: every field that was not
// changed keeps its bytes, times and extension headers are in canonical form.
func (e *Entry) blocks() ([]byte, error) {
	if e.edit == nil {
		return e.raw, nil
	}
	if e.hdr.Type == TypeGlobal {
		return e.globalBlocks(), nil
	}
	block := slices.Clone(e.raw[e.main : e.main+blockSize])
	w := headerEncoder{e: e, b: block, fl: flavourOf(block), records: maps.Clone(e.edit.Records)}
	if w.records == nil {
		w.records = map[string]string{}
	}
	if err := w.encode(); err != nil {
		return nil, fmt.Errorf("write header of %q: %w", e.edit.Name, err)
	}
	out := w.extensions()
	out = append(out, block...)
	return append(out, e.raw[e.main+blockSize:]...), nil // the sparse map
}

// globalBlocks writes a global header without the times that an edit touched;
// one without records vanishes.
func (e *Entry) globalBlocks() []byte {
	records := maps.Clone(e.edit.Records)
	if records == nil {
		records = map[string]string{}
	}
	for _, r := range e.ext.records {
		if e.ext.has[r.key] && !e.retimed(r.key) {
			records[r.key] = r.value
		}
	}
	if len(records) == 0 {
		return nil
	}
	name := text(fName.of(e.raw[e.main:]))
	return rawFile(name, formatRecords(records), TypeGlobal, ustar)
}

// retimed says whether a PAX key is a time that the edit changed.
func (e *Entry) retimed(key string) bool {
	switch key {
	case "mtime":
		return !e.edit.ModTime.Equal(e.hdr.ModTime)
	case "atime":
		return !e.edit.AccessTime.Equal(e.hdr.AccessTime)
	case "ctime":
		return !e.edit.ChangeTime.Equal(e.hdr.ChangeTime)
	}
	return false
}

// headerEncoder patches one header block.
type headerEncoder struct {
	e       *Entry
	b       []byte
	fl      flavour
	records map[string]string

	longName, longLink string // for GNU extension headers
}

func (w *headerEncoder) encode() error {
	was, h := &w.e.hdr, w.e.edit
	if h.Size != was.Size {
		return fmt.Errorf("size cannot be edited")
	}
	w.keep("size", strconv.FormatInt(was.Size, 10))
	w.name(was, h)
	w.linkname(was, h)
	if h.Type != was.Type {
		w.b[fType.at] = h.Type
	}
	w.number(fMode, "", was.Mode, h.Mode)
	w.number(fUID, "uid", int64(was.UID), int64(h.UID))
	w.number(fGID, "gid", int64(was.GID), int64(h.GID))
	w.owner(fUname, "uname", was.Uname, h.Uname)
	w.owner(fGname, "gname", was.Gname, h.Gname)
	if w.fl != v7 {
		w.number(fDevmajor, "", was.Devmajor, h.Devmajor)
		w.number(fDevminor, "", was.Devminor, h.Devminor)
	}
	w.times(h)
	w.checksum()
	return nil
}

// keep carries a PAX record over as it was.
func (w *headerEncoder) keep(key, value string) {
	if w.e.ext.has[key] {
		w.records[key] = value
	}
}

func (w *headerEncoder) name(was, h *Header) {
	switch {
	case h.Name == was.Name:
		if w.e.ext.longName != nil {
			w.longName = *w.e.ext.longName
		}
		for _, r := range w.e.ext.records {
			if r.key == "path" { // beside GNU.sparse.name it differs from Name
				w.records["path"] = r.value
			}
		}
	case w.records[paxSparseName] != "":
		w.records[paxSparseName] = h.Name
		w.keep("path", h.Name)
	default:
		w.newName(h.Name)
	}
}

func (w *headerEncoder) newName(name string) {
	_, _, prefix := timeFields(w.fl)
	clear(prefix.of(w.b))
	switch dir, base, ok := split(name, prefix.n); {
	case len(name) <= fName.n && plain(name):
		put(w.b, fName, name)
	case ok && plain(name):
		put(w.b, prefix, dir)
		put(w.b, fName, base)
	case w.fl == gnu:
		w.longName = name
		put(w.b, fName, name)
	default:
		w.records["path"] = name
		put(w.b, fName, ascii(name))
	}
}

func (w *headerEncoder) linkname(was, h *Header) {
	switch {
	case h.Linkname == was.Linkname:
		if w.e.ext.longLink != nil {
			w.longLink = *w.e.ext.longLink
		}
		w.keep("linkpath", was.Linkname)
	case len(h.Linkname) <= fLinkname.n && plain(h.Linkname):
		put(w.b, fLinkname, h.Linkname)
	case w.fl == gnu:
		w.longLink = h.Linkname
		put(w.b, fLinkname, h.Linkname)
	default:
		w.records["linkpath"] = h.Linkname
		put(w.b, fLinkname, ascii(h.Linkname))
	}
}

// number writes a changed number: octal where it fits, else as a PAX record or
// in GNU's base-256 form.
func (w *headerEncoder) number(f span, key string, was, is int64) {
	switch {
	case was == is:
		w.keep(key, strconv.FormatInt(is, 10))
	case is >= 0 && is < 1<<(3*(f.n-1)):
		putOctal(w.b, f, is)
	case w.fl != gnu && key != "":
		putOctal(w.b, f, 0)
		w.records[key] = strconv.FormatInt(is, 10)
	default:
		putBase256(w.b, f, is)
	}
}

func (w *headerEncoder) owner(f span, key, was, is string) {
	switch {
	case was == is:
		w.keep(key, is)
	case w.fl != v7 && len(is) <= f.n && plain(is):
		put(w.b, f, is)
	default:
		w.records[key] = is
	}
}

// times writes all times in canonical form: a whole number of seconds stands in
// the header alone, so that a file whose PAX header held nothing but times
// ends up without one.
func (w *headerEncoder) times(h *Header) {
	seconds := h.ModTime.Unix()
	fits := seconds >= 0 && seconds <= maxOctal
	switch {
	case fits && h.ModTime.Nanosecond() == 0:
		putOctal(w.b, fModTime, seconds)
	case fits:
		putOctal(w.b, fModTime, seconds)
		w.records["mtime"] = formatTime(h.ModTime)
	default:
		putOctal(w.b, fModTime, 0)
		w.records["mtime"] = formatTime(h.ModTime)
	}
	atime, ctime, _ := timeFields(w.fl)
	w.optionalTime(atime, "atime", h.AccessTime)
	w.optionalTime(ctime, "ctime", h.ChangeTime)
}

func (w *headerEncoder) optionalTime(f span, key string, t time.Time) {
	switch {
	case t.IsZero():
		clear(f.of(w.b))
	case f.n > 0 && !w.e.ext.has[key] && t.Unix() > 0 && t.Unix() <= maxOctal && t.Nanosecond() == 0:
		putOctal(w.b, f, t.Unix())
	default:
		clear(f.of(w.b))
		w.records[key] = formatTime(t)
	}
}

// checksum keeps the ending that the archiver gave the field.
func (w *headerEncoder) checksum() {
	field := fChecksum.of(w.b)
	ending := string(field[6:8])
	if ending != "\x00 " && ending != " \x00" && ending != "\x00\x00" {
		ending = "\x00 "
	}
	sum, _ := checksum(w.b)
	putOctal(w.b, span{fChecksum.at, 7}, sum)
	copy(field[6:], ending)
}

// extensions are the headers to stand before the block.
func (w *headerEncoder) extensions() []byte {
	var out []byte
	if len(w.records) > 0 {
		dir, file := path.Split(w.e.edit.Name)
		name := path.Join(dir, "PaxHeaders.0", file)
		out = append(out, rawFile(name, formatRecords(w.records), 'x', ustar)...)
	}
	if w.longName != "" {
		out = append(out, rawFile("././@LongLink", w.longName+"\x00", 'L', gnu)...)
	}
	if w.longLink != "" {
		out = append(out, rawFile("././@LongLink", w.longLink+"\x00", 'K', gnu)...)
	}
	return out
}

// rawFile is a header block with content, in the form that archive/tar gives to
// extension headers.
func rawFile(name, content string, kind byte, fl flavour) []byte {
	b := make([]byte, blockSize+roundUp(int64(len(content))))
	name = ascii(name)
	put(b, fName, strings.TrimRight(name[:min(len(name), fName.n)], "/"))
	for _, f := range []span{fMode, fUID, fGID, fModTime} {
		putOctal(b, f, 0)
	}
	putOctal(b, fSize, int64(len(content)))
	b[fType.at] = kind
	magic := "ustar\x0000"
	if fl == gnu {
		magic = "ustar  \x00"
	}
	put(b, fMagic, magic)
	sum, _ := checksum(b[:blockSize])
	copy(fChecksum.of(b)[6:], "\x00 ")
	putOctal(b, span{fChecksum.at, 7}, sum)
	copy(b[blockSize:], content)
	return b
}

// formatRecords writes PAX records in the order of their keys.
func formatRecords(records map[string]string) string {
	var s strings.Builder
	for _, k := range slices.Sorted(maps.Keys(records)) {
		s.WriteString(formatRecord(k, records[k]))
	}
	return s.String()
}

// formatRecord writes "%d %s=%s\n"; the number counts its own digits.
func formatRecord(key, value string) string {
	const fixed = 3 // space, equals, newline
	size := len(key) + len(value) + fixed
	size += len(strconv.Itoa(size))
	if s := strconv.Itoa(size); len(s)+len(key)+len(value)+fixed != size {
		size++
	}
	return strconv.Itoa(size) + " " + key + "=" + value + "\n"
}

func formatTime(t time.Time) string {
	seconds, nanos := t.Unix(), t.Nanosecond()
	if nanos == 0 {
		return strconv.FormatInt(seconds, 10)
	}
	sign := ""
	if seconds < 0 {
		sign = "-"
		seconds = -(seconds + 1)
		nanos = 1e9 - nanos
	}
	return strings.TrimRight(fmt.Sprintf("%s%d.%09d", sign, seconds, nanos), "0")
}

func put(b []byte, f span, s string) {
	field := f.of(b)
	clear(field[copy(field, s):])
}

// putOctal fills a field with zero-padded digits and a NUL, which v must fit.
func putOctal(b []byte, f span, v int64) {
	field := f.of(b)
	field[f.n-1] = 0
	for i := f.n - 2; i >= 0; i-- {
		field[i] = '0' + byte(v&7)
		v >>= 3
	}
}

func putBase256(b []byte, f span, v int64) {
	field := f.of(b)
	for i := len(field) - 1; i >= 0; i-- {
		field[i] = byte(v)
		v >>= 8
	}
	field[0] |= 0x80
}

// split divides a name at a slash into a prefix of at most n bytes and a base
// that fits the name field.
func split(name string, n int) (dir, base string, ok bool) {
	if n == 0 || len(name) > n+1+fName.n {
		return "", "", false
	}
	for i := 1; i < len(name)-1; i++ {
		if name[i] == '/' && i <= n && len(name)-i-1 <= fName.n {
			return name[:i], name[i+1:], true
		}
	}
	return "", "", false
}

// plain says whether a string may stand in a header field, which is ASCII.
func plain(s string) bool {
	for _, c := range []byte(s) {
		if c >= 0x80 || c == 0 {
			return false
		}
	}
	return true
}

// ascii drops what may not stand in a header field.
func ascii(s string) string {
	if plain(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r < 0x80 && r != 0 {
			return r
		}
		return -1
	}, s)
}
