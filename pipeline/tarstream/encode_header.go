package tarstream

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// maxOctal is the largest number that a 12-byte field holds in octal.
const maxOctal = 1<<33 - 1

// headerEncoder patches one header block, and says what becomes of the
// extension headers before it.
type headerEncoder struct {
	e       *Entry
	b       []byte
	fl      flavour
	records recordEdit

	longName, longLink *string // of GNU extension headers; nil for none
}

func (w *headerEncoder) encode() error {
	was, h := &w.e.hdr, w.e.edit
	if h.Size != was.Size {
		return errors.New("size cannot be edited")
	}
	if err := w.records.others(was.Records, h.Records); err != nil {
		return err
	}
	if h.Name != was.Name {
		w.name(h.Name)
	}
	if h.Linkname != was.Linkname {
		w.linkname(h.Linkname)
	}
	if h.Type != was.Type || h.Name != was.Name && typeOf(w.b[fType.at], h.Name) != h.Type {
		w.b[fType.at] = h.Type
	}
	w.owner(fUname, "uname", was.Uname, h.Uname)
	w.owner(fGname, "gname", was.Gname, h.Gname)
	w.times(h)
	err := errors.Join(
		w.number(fMode, "", was.Mode, h.Mode),
		w.number(fUID, "uid", int64(was.UID), int64(h.UID)),
		w.number(fGID, "gid", int64(was.GID), int64(h.GID)))
	if w.fl != v7 {
		err = errors.Join(err,
			w.number(fDevmajor, "", was.Devmajor, h.Devmajor),
			w.number(fDevminor, "", was.Devminor, h.Devminor))
	}
	w.checksum()
	return err
}

// name writes a new name wherever a reader may look for it, so that no reader
// finds the old one.
func (w *headerEncoder) name(name string) {
	if w.fl == oldGo {
		w.fl = gnu // which is what it is without the prefix
		clear(fGNUATime.of(w.b))
		clear(fGNUCTime.of(w.b))
		if w.b[fType.at] != TypeGNUSparse { // whose map would stand there
			clear(fPrefix.of(w.b))
		}
	}
	if w.e.sparseNamed() && w.e.hdr.Type != TypeGNUSparse {
		w.records.set[paxSparseName] = name
	}
	_, _, prefix := timeFields(w.fl)
	clear(prefix.of(w.b))
	w.longName = nil
	dir, base, ok := split(name, prefix.n)
	switch {
	case len(name) <= fName.n && plain(name):
		put(w.b, fName, name)
		w.records.drop("path")
	case ok && plain(name):
		put(w.b, prefix, dir)
		put(w.b, fName, base)
		w.records.drop("path")
	case w.fl == gnu:
		put(w.b, fName, name)
		w.longName = &name
		w.records.drop("path")
	default:
		put(w.b, fName, ascii(name))
		w.records.set["path"] = name
	}
}

func (w *headerEncoder) linkname(name string) {
	w.longLink = nil
	switch {
	case len(name) <= fLinkname.n && plain(name):
		put(w.b, fLinkname, name)
		w.records.drop("linkpath")
	case w.fl == gnu:
		put(w.b, fLinkname, name)
		w.longLink = &name
		w.records.drop("linkpath")
	default:
		put(w.b, fLinkname, ascii(name))
		w.records.set["linkpath"] = name
	}
}

// number writes a changed number: octal where it fits, else as a PAX record or
// in GNU's base-256 form.
func (w *headerEncoder) number(f span, key string, was, is int64) error {
	const most = 1 << (8 * 7) // what is left of 8 bytes without their sign
	switch {
	case was == is:
		return nil
	case is >= 0 && is < 1<<(3*(f.n-1)):
		putOctal(w.b, f, is)
		w.records.drop(key)
	case key != "" && (w.fl != gnu || is < -most || is >= most):
		putOctal(w.b, f, 0)
		w.records.set[key] = strconv.FormatInt(is, 10)
	case is < -most || is >= most:
		return fmt.Errorf("number %d does not fit", is)
	default:
		putBase256(w.b, f, is)
		w.records.drop(key)
	}
	return nil
}

func (w *headerEncoder) owner(f span, key, was, is string) {
	switch {
	case was == is:
	case w.fl != v7 && len(is) <= f.n && plain(is):
		put(w.b, f, is)
		w.records.drop(key)
	case is == "": // V7, which names nobody
		w.records.drop(key)
	default:
		w.records.set[key] = is
	}
}

// times writes all times in canonical form, changed or not: a whole number of
// seconds stands in the header alone, so that a file whose PAX header held
// nothing but times ends up without one; others stand at the records' end, so
// that entries which differ in times only come out equal.
func (w *headerEncoder) times(h *Header) {
	seconds := h.ModTime.Unix()
	fits := seconds >= 0 && seconds <= maxOctal
	w.records.drop("mtime")
	if !fits || h.ModTime.Nanosecond() != 0 {
		w.records.set["mtime"] = formatTime(h.ModTime)
	}
	if !fits {
		seconds = 0
	}
	putOctal(w.b, fModTime, seconds)
	atime, ctime, _ := timeFields(w.fl)
	w.optionalTime(atime, "atime", h.AccessTime)
	w.optionalTime(ctime, "ctime", h.ChangeTime)
}

func (w *headerEncoder) optionalTime(f span, key string, t time.Time) {
	_, recorded := w.e.ext.last[key]
	w.records.drop(key)
	clear(f.of(w.b))
	switch {
	case t.IsZero():
	case f.n > 0 && !recorded && t.Unix() > 0 && t.Unix() <= maxOctal && t.Nanosecond() == 0:
		putOctal(w.b, f, t.Unix())
	default:
		w.records.set[key] = formatTime(t)
	}
}

// checksum keeps the ending that the archiver gave the field.
func (w *headerEncoder) checksum() {
	field := fChecksum.of(w.b)
	ending := string(field[6:8])
	if ending != "\x00 " && ending != " \x00" && ending != "\x00\x00" {
		ending = "\x00 "
	}
	sum := checksum(w.b)
	putOctal(w.b, span{fChecksum.at, 7}, sum)
	copy(field[6:], ending)
}
