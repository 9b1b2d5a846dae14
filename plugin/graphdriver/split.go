package graphdriver

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/klauspost/compress/gzip"
	"github.com/vbatts/tar-split/tar/storage"

	"github.com/occystrap/occystrap/pipeline"
)

const (
	// splitBuffer is how much of tar-split is decompressed at once.
	splitBuffer = 64 << 10
	// longestLine bounds one entry. The longest that Docker writes holds the
	// extended headers before one member, of which a tar reader takes 1 MiB each.
	longestLine = 16 << 20
)

// A split reads tar-split: one JSON object on each line (storage.Entry), by turns a
// stretch of the tar and a file whose content follows it.
type split struct {
	f    *os.File
	gz   *gzip.Reader
	r    *bufio.Reader
	long []byte // a line that is longer than r's buffer
	raw  []byte // of entry.bytes
}

// An entry is one line of tar-split. It is valid until the next one.
type entry struct {
	file    bool
	name    string // of a file
	size    int64  // of a file's content
	payload []byte // base64: a stretch of the tar, or a file's CRC-64
	split   *split
}

func openSplit(in *os.Root, name string) (*split, error) {
	f, err := openFile(in, name)
	if err != nil {
		return nil, err
	}
	gz, err := gzip.NewReader(bufio.NewReaderSize(f, splitBuffer))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
	}
	return &split{f: f, gz: gz, r: bufio.NewReaderSize(gz, splitBuffer)}, nil
}

// Close closes the file.
func (s *split) Close() error { return errors.Join(s.gz.Close(), s.f.Close()) }

// next returns the next entry; io.EOF after the last one.
func (s *split) next() (entry, error) {
	line, err := s.line()
	if err != nil {
		return entry{}, err
	}
	e, ok := quick(line)
	if !ok {
		if e, err = slow(line); err != nil {
			return e, fmt.Errorf("read %s: %w", splitName, err)
		}
	}
	e.split = s
	if e.file && (e.size < 0 || e.size > 0 && e.name == "") {
		return e, fmt.Errorf("%s says that %q has %d bytes: the store is damaged", splitName, e.name, e.size)
	}
	return e, nil
}

// line returns the next line, without its end.
func (s *split) line() ([]byte, error) {
	line, err := s.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		s.long = append(s.long[:0], line...)
		for errors.Is(err, bufio.ErrBufferFull) {
			if len(s.long) > longestLine {
				return nil, fmt.Errorf("%s has a line of more than %d bytes: %w", splitName, longestLine, pipeline.ErrLimit)
			}
			line, err = s.r.ReadSlice('\n')
			s.long = append(s.long, line...)
		}
		line = s.long
	}
	line = bytes.TrimSpace(line)
	switch {
	case err == nil && len(line) == 0:
		return s.line()
	case errors.Is(err, io.EOF) && len(line) > 0:
		return line, nil
	case errors.Is(err, io.EOF):
		return nil, io.EOF
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", splitName, err)
	}
	return line, nil
}

// quick reads a line in the form that encoding/json gives it, which is ten times
// as fast as reading any JSON. It is false for all that looks otherwise.
func quick(line []byte) (e entry, ok bool) {
	rest, segment := bytes.CutPrefix(line, []byte(`{"type":2,`))
	if !segment {
		var name []byte
		if rest, e.file = bytes.CutPrefix(line, []byte(`{"type":1,"name":"`)); !e.file {
			return e, false
		}
		if name, rest, ok = bytes.Cut(rest, []byte(`",`)); !ok || bytes.ContainsAny(name, `\"`) {
			return e, false
		}
		e.name = string(name)
		if size, found := bytes.CutPrefix(rest, []byte(`"size":`)); found {
			var digits []byte
			if digits, rest, ok = bytes.Cut(size, []byte(",")); !ok {
				return e, false
			}
			var err error
			if e.size, err = strconv.ParseInt(string(digits), 10, 64); err != nil {
				return e, false
			}
		}
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(`"payload":`)); !ok {
		return e, false
	}
	if quoted, found := bytes.CutPrefix(rest, []byte(`"`)); !found {
		rest, ok = bytes.CutPrefix(rest, []byte(`null`))
	} else if e.payload, rest, ok = bytes.Cut(quoted, []byte(`"`)); bytes.IndexByte(e.payload, '\\') >= 0 {
		return e, false
	}
	position, found := bytes.CutPrefix(rest, []byte(`,"position":`))
	return e, ok && found && len(bytes.TrimLeft(position, "0123456789")) == 1 && position[len(position)-1] == '}'
}

// slow reads any line.
func slow(line []byte) (entry, error) {
	var e storage.Entry
	if err := json.Unmarshal(line, &e); err != nil {
		return entry{}, err
	}
	switch e.Type {
	case storage.FileType:
		return entry{file: true, name: e.GetName(), size: e.Size, payload: base64.StdEncoding.AppendEncode(nil, e.Payload)}, nil
	case storage.SegmentType:
		return entry{payload: base64.StdEncoding.AppendEncode(nil, e.Payload)}, nil
	}
	return entry{}, fmt.Errorf("it has an entry of type %d", e.Type)
}

// length is how many bytes the payload stands for. What is no base64 shows when it
// is decoded.
func (e entry) length() int64 {
	padding := len(e.payload) - len(bytes.TrimRight(e.payload, "="))
	return int64(base64.StdEncoding.DecodedLen(len(e.payload)) - padding)
}

// bytes decodes the payload; they are valid until the next call.
func (e entry) bytes() ([]byte, error) {
	out, err := base64.StdEncoding.AppendDecode(e.split.raw[:0], e.payload)
	e.split.raw = out
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", splitName, err)
	}
	return out, nil
}
