package tarstream

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// paxSparseName is where sparse files of PAX format 0.1 and 1.0 keep their
// real name; the path holds a name of the archiver's making.
const paxSparseName = "GNU.sparse.name"

// blocks are the header blocks with the edit applied: every field and record
// that was not changed keeps its bytes; times and the blocks of extension
// headers are in canonical form.
func (e *Entry) blocks() ([]byte, error) {
	if e.edit == nil {
		return e.raw, nil
	}
	encode := e.encode
	if e.hdr.Type == TypeGlobal {
		encode = e.encodeGlobal
	}
	b, err := encode()
	if err != nil {
		return nil, fmt.Errorf("write header of %q: %w", e.edit.Name, err)
	}
	return b, nil
}

func (e *Entry) encode() ([]byte, error) {
	block := slices.Clone(e.raw[e.main : e.main+blockSize])
	w := headerEncoder{
		e: e, b: block, fl: flavourOf(block), records: newRecordEdit(),
		longName: e.ext.longName, longLink: e.ext.longLink,
	}
	if err := w.encode(); err != nil {
		return nil, err
	}
	out, err := w.extensions()
	if err != nil {
		return nil, err
	}
	if len(out) == 0 {
		out = block
	} else {
		out = append(out, block...)
	}
	return append(out, e.raw[e.main+blockSize:]...), nil // the sparse map
}

// encodeGlobal writes a global header without the times that an edit touched;
// one without records vanishes.
func (e *Entry) encodeGlobal() ([]byte, error) {
	records := newRecordEdit()
	was, is := &e.hdr, e.edit
	if !is.ModTime.Equal(was.ModTime) {
		records.drop("mtime")
	}
	if !is.AccessTime.Equal(was.AccessTime) {
		records.drop("atime")
	}
	if !is.ChangeTime.Equal(was.ChangeTime) {
		records.drop("ctime")
	}
	if err := records.others(was.Records, is.Records); err != nil {
		return nil, err
	}
	content, err := records.format(e.ext.records)
	if err != nil || content == "" {
		return nil, err
	}
	if len(content) > maxExtension {
		return nil, fmt.Errorf("extension headers of more than %d bytes", maxExtension)
	}
	return rawFile(text(fName.of(e.raw[e.main:])), content, TypeGlobal, ustar), nil
}

// extensions are the headers to stand before the block.
func (w *headerEncoder) extensions() ([]byte, error) {
	content, err := w.records.format(w.e.ext.records)
	if err != nil {
		return nil, err
	}
	var out []byte
	size := len(content)
	if content != "" {
		dir, file := path.Split(w.e.edit.Name)
		out = rawFile(path.Join(dir, "PaxHeaders.0", file), content, 'x', ustar)
	}
	for _, long := range []struct {
		kind byte
		name *string
	}{{'L', w.longName}, {'K', w.longLink}} {
		if long.name != nil {
			out = append(out, rawFile("././@LongLink", *long.name+"\x00", long.kind, gnu)...)
			size += len(*long.name) + 1
		}
	}
	if size > maxExtension {
		return nil, fmt.Errorf("extension headers of more than %d bytes", maxExtension)
	}
	return out, nil
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
	sum := checksum(b[:blockSize])
	copy(fChecksum.of(b)[6:], "\x00 ")
	putOctal(b, span{fChecksum.at, 7}, sum)
	copy(b[blockSize:], content)
	return b
}
