package tarstream

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// extensions are the headers that stood before the header proper.
type extensions struct {
	longName, longLink *string
	records            []record
	has                map[string]bool // PAX keys that filled a Header field
}

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
	if e.hdr.Type == TypeGNUSparse && flavourOf(b) == gnu {
		return false, e.sparseMap()
	}
	return false, nil
}

// extension reads the content of an x, L or K header.
func (e *Entry) extension(kind byte, size int64) error {
	content, err := e.content(size)
	if err != nil {
		return err
	}
	switch s := text(content); kind {
	case 'L':
		e.ext.longName = &s
	case 'K':
		e.ext.longLink = &s
	case 'x':
		if e.ext.records != nil {
			return fmt.Errorf("%w: two PAX headers for one entry", ErrFormat)
		}
		e.ext.records, err = parseRecords(content)
	}
	return err
}

// content reads an extension's content and padding into raw.
func (e *Entry) content(size int64) ([]byte, error) {
	if size < 0 || size > maxExtension {
		return nil, fmt.Errorf("%w: extension header of %d bytes", ErrFormat, size)
	}
	at := len(e.raw)
	e.raw = append(e.raw, make([]byte, roundUp(size))...)
	if err := e.s.readFull(e.raw[at:]); err != nil {
		return nil, err
	}
	return e.raw[at : at+int(size)], nil
}

// global reads a PAX global header as an entry of its own: daemons ignore its
// records, filters may not.
func (e *Entry) global(size int64) error {
	content, err := e.content(size)
	if err != nil {
		return err
	}
	if e.ext.records != nil || e.ext.longName != nil || e.ext.longLink != nil {
		return fmt.Errorf("%w: extension header before a global header", ErrFormat)
	}
	if e.ext.records, err = parseRecords(content); err != nil {
		return err
	}
	e.hdr.Type = TypeGlobal
	return e.applyRecords()
}

// fields fills in hdr from the header block and the extensions before it.
func (e *Entry) fields(b []byte, size int64) (err error) {
	h := &e.hdr
	number := func(f span) int64 {
		v, nerr := parseNumber(f.of(b))
		if err == nil {
			err = nerr
		}
		return v
	}
	h.Name, h.Linkname = text(fName.of(b)), text(fLinkname.of(b))
	h.Mode, h.UID, h.GID = number(fMode), int(number(fUID)), int(number(fGID))
	h.Size, h.ModTime = size, time.Unix(number(fModTime), 0)
	fl := flavourOf(b)
	if fl != v7 {
		h.Uname, h.Gname = text(fUname.of(b)), text(fGname.of(b))
		h.Devmajor, h.Devminor = number(fDevmajor), number(fDevminor)
	}
	atime, ctime, prefix := timeFields(fl)
	if prefix.n > 0 {
		if p := text(prefix.of(b)); p != "" {
			h.Name = p + "/" + h.Name
		}
	}
	if atime.n > 0 {
		h.AccessTime, h.ChangeTime = binaryTime(number(atime)), binaryTime(number(ctime))
	}
	if err != nil {
		return err
	}
	if e.ext.longName != nil {
		h.Name = *e.ext.longName
	}
	if e.ext.longLink != nil {
		h.Linkname = *e.ext.longLink
	}
	if err := e.applyRecords(); err != nil {
		return err
	}
	h.Type = fType.of(b)[0]
	return e.settle()
}

// timeFields says where a flavour keeps access time, change time and prefix.
func timeFields(fl flavour) (atime, ctime, prefix span) {
	switch fl { //nolint:exhaustive // v7 has none of them
	case ustar:
		return span{}, span{}, fPrefix
	case star:
		return fStarATime, fStarCTime, span{fPrefix.at, fStarATime.at - fPrefix.at}
	case gnu:
		return fGNUATime, fGNUCTime, span{}
	}
	return span{}, span{}, span{}
}

// binaryTime is a header field's time; 0 stands for none there.
func binaryTime(v int64) time.Time {
	if v == 0 {
		return time.Time{}
	}
	return time.Unix(v, 0)
}

// applyRecords lets PAX records override header fields. Those without a field
// stay in Records. An empty value leaves the header's, as archive/tar does.
func (e *Entry) applyRecords() error {
	h := &e.hdr
	e.ext.has = map[string]bool{}
	for _, r := range e.ext.records {
		var err error
		known := true
		switch r.key {
		case "path":
			set(&h.Name, r.value)
		case "linkpath":
			set(&h.Linkname, r.value)
		case "uname":
			set(&h.Uname, r.value)
		case "gname":
			set(&h.Gname, r.value)
		case "uid":
			h.UID, err = strconv.Atoi(r.value)
		case "gid":
			h.GID, err = strconv.Atoi(r.value)
		case "size":
			h.Size, err = strconv.ParseInt(r.value, 10, 64)
		case "mtime":
			h.ModTime, err = parseTime(r.value)
		case "atime":
			h.AccessTime, err = parseTime(r.value)
		case "ctime":
			h.ChangeTime, err = parseTime(r.value)
		default:
			known = false
			if h.Records == nil {
				h.Records = map[string]string{}
			}
			h.Records[r.key] = r.value
		}
		if err != nil && r.value != "" {
			return fmt.Errorf("%w: PAX record %s=%q", ErrFormat, r.key, r.value)
		}
		e.ext.has[r.key] = known
	}
	if name := h.Records[paxSparseName]; name != "" {
		h.Name = name
	}
	return nil
}

func set(field *string, value string) {
	if value != "" {
		*field = value
	}
}

// settle derives the type that daemons see and the length of the content.
func (e *Entry) settle() error {
	h := &e.hdr
	if h.Type == 0 { // V7, which marks a directory by its name alone
		h.Type = TypeReg
		if strings.HasSuffix(h.Name, "/") {
			h.Type = TypeDir
		}
	}
	if h.Size < 0 {
		return fmt.Errorf("%w: size %d", ErrFormat, h.Size)
	}
	switch h.Type {
	case TypeLink, TypeSymlink, TypeChar, TypeBlock, TypeDir, TypeFifo:
		// Whatever the size field says, no content follows (archive/tar,
		// isHeaderOnly): old tars put a directory's disk use there.
	default:
		e.size = h.Size
	}
	h.Size = e.size
	e.padded = roundUp(e.size)
	if e.padded < e.size {
		return fmt.Errorf("%w: size %d", ErrFormat, h.Size)
	}
	return nil
}

// sparseMap reads the further blocks of an old GNU sparse map.
func (e *Entry) sparseMap() error {
	more := fGNUMore.of(e.raw[e.main:])[0] != 0
	for n := 0; more; n++ {
		if n > maxSparseMap {
			return fmt.Errorf("%w: sparse map of more than %d blocks", ErrFormat, maxSparseMap)
		}
		var b [blockSize]byte
		if err := e.s.readFull(b[:]); err != nil {
			return err
		}
		e.raw = append(e.raw, b[:]...)
		more = fMapMore.of(b[:])[0] != 0
	}
	return nil
}

func roundUp(n int64) int64 { return (n + blockSize - 1) &^ (blockSize - 1) }
