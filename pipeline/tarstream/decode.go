package tarstream

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// header reads the block at e.main and what belongs to it. More says that it
// was an extension, so that another header follows.
func (e *Entry) header() (more bool, err error) {
	b := e.raw[e.main : e.main+blockSize]
	size, err := parseNumber(fSize.of(b))
	if err != nil {
		return false, err
	}
	switch fType.of(b)[0] {
	case 'x', 'L', 'K':
		return true, e.extension(fType.of(b)[0], size)
	case TypeGlobal:
		return false, e.global(size)
	}
	if err := e.fields(b, size); err != nil {
		return false, err
	}
	if e.hdr.Type != TypeGNUSparse {
		return false, nil
	}
	if fl := flavourOf(b); fl != gnu && fl != oldGo {
		// Schily's tar has sparse files of this type as well, with another map.
		return false, fmt.Errorf("%w: sparse file without GNU magic", ErrFormat)
	}
	return false, e.sparseMap()
}

// fields fills in hdr from the header block and the extensions before it, in
// archive/tar's order: GNU long names win over PAX records.
func (e *Entry) fields(b []byte, size int64) error {
	h := &e.hdr
	if err := h.block(b); err != nil {
		return err
	}
	h.Size = size
	if err := e.applyRecords(); err != nil {
		return err
	}
	set(&h.Name, e.ext.longName)
	set(&h.Linkname, e.ext.longLink)
	h.Type = typeOf(fType.of(b)[0], h.Name)
	if h.Type != TypeGNUSparse && e.sparseNamed() {
		h.Name = h.Records[paxSparseName]
	}
	return e.settle()
}

// set fills a field from a GNU long name; an empty one says nothing.
func set(field, value *string) {
	if value != nil && *value != "" {
		*field = *value
	}
}

// block fills in h from a header block alone, but for type and size.
func (h *Header) block(b []byte) (err error) {
	number := func(f span) int64 {
		v, nerr := parseNumber(f.of(b))
		if err == nil {
			err = nerr
		}
		return v
	}
	h.Name, h.Linkname = text(fName.of(b)), text(fLinkname.of(b))
	h.Mode, h.UID, h.GID = number(fMode), int(number(fUID)), int(number(fGID))
	h.ModTime = time.Unix(number(fModTime), 0)
	fl := flavourOf(b)
	if fl != v7 {
		h.Uname, h.Gname = text(fUname.of(b)), text(fGname.of(b))
		h.Devmajor, h.Devminor = number(fDevmajor), number(fDevminor)
	}
	atime, ctime, prefix := timeFields(fl)
	if prefix.n > 0 {
		if p := text(prefix.of(b)); p != "" && (fl != oldGo || plain(p)) {
			h.Name = p + "/" + h.Name
		}
	}
	optional := func(f span) time.Time { // 0 stands for none there
		if f.n == 0 || fl == gnu && f.of(b)[0] == 0 {
			return time.Time{}
		}
		if v := number(f); v != 0 {
			return time.Unix(v, 0)
		}
		return time.Time{}
	}
	h.AccessTime, h.ChangeTime = optional(atime), optional(ctime)
	return err
}

// timeFields says where a flavour keeps access time, change time and prefix.
func timeFields(fl flavour) (atime, ctime, prefix span) {
	switch fl { //nolint:exhaustive // v7 has none of them
	case ustar, oldGo:
		return span{}, span{}, fPrefix
	case star:
		return fStarATime, fStarCTime, span{fPrefix.at, fStarATime.at - fPrefix.at}
	case gnu:
		return fGNUATime, fGNUCTime, span{}
	}
	return span{}, span{}, span{}
}

// applyRecords lets PAX records override header fields. Those without a field
// go to Records. An empty value leaves the header's, as archive/tar does.
func (e *Entry) applyRecords() error {
	h := &e.hdr
	for _, r := range e.ext.records { // in their order, so that errors are always the same
		key, value := r.key, e.ext.last[r.key]
		switch {
		case !hasField(key):
			if h.Records == nil {
				h.Records = map[string]string{}
			}
			h.Records[key] = value
		case value != "":
			if err := h.setField(key, value); err != nil {
				return fmt.Errorf("%w: PAX record %s=%q", ErrFormat, key, value)
			}
		}
	}
	return nil
}

// hasField says whether a PAX key is shown in a field of Header.
func hasField(key string) bool {
	switch key {
	case "path", "linkpath", "uname", "gname", "uid", "gid", "size", "mtime", "atime", "ctime":
		return true
	}
	return false
}

// setField fills the field of a key that hasField.
func (h *Header) setField(key, value string) (err error) {
	switch key {
	case "path":
		h.Name = strings.Clone(value) // filters keep it, and not all records with it
	case "linkpath":
		h.Linkname = strings.Clone(value)
	case "uname":
		h.Uname = value
	case "gname":
		h.Gname = value
	case "uid":
		h.UID, err = strconv.Atoi(value)
	case "gid":
		h.GID, err = strconv.Atoi(value)
	case "size":
		h.Size, err = strconv.ParseInt(value, 10, 64)
	case "mtime":
		h.ModTime, err = parseTime(value)
	case "atime":
		h.AccessTime, err = parseTime(value)
	case "ctime":
		h.ChangeTime, err = parseTime(value)
	}
	return err
}

// sparseNamed says whether the name stands in GNU.sparse.name: archive/tar's
// conditions, that is a PAX sparse file of a known version, or one that has a
// map and no version.
func (e *Entry) sparseNamed() bool {
	r := e.hdr.Records
	if r[paxSparseName] == "" {
		return false
	}
	major, minor := r["GNU.sparse.major"], r["GNU.sparse.minor"]
	if major != "" || minor != "" {
		return major == "0" && (minor == "0" || minor == "1") || major == "1" && minor == "0"
	}
	return r["GNU.sparse.map"] != "" || r["GNU.sparse.offset"] != "" || r["GNU.sparse.numbytes"] != ""
}

// typeOf is the type that daemons see: V7 marks a directory by its name alone.
func typeOf(flag byte, name string) byte {
	switch {
	case flag != 0:
		return flag
	case strings.HasSuffix(name, "/"):
		return TypeDir
	}
	return TypeReg
}

// settle derives the length of the content, and bounds names.
func (e *Entry) settle() error {
	h := &e.hdr
	if n := max(len(h.Name), len(h.Linkname)); n > maxName {
		return fmt.Errorf("%w: name of %d bytes, limit is %d", ErrFormat, n, maxName)
	}
	switch h.Type {
	case TypeLink, TypeSymlink, TypeChar, TypeBlock, TypeDir, TypeFifo:
		// Whatever the size field says, no content follows (archive/tar,
		// isHeaderOnly): old tars put a directory's disk use there.
		h.Size = 0
	}
	e.size, e.padded = h.Size, roundUp(h.Size)
	if h.Size < 0 || e.padded < e.size {
		return fmt.Errorf("%w: size %d", ErrFormat, h.Size)
	}
	return nil
}

func roundUp(n int64) int64 { return (n + blockSize - 1) &^ (blockSize - 1) }
