package pipelinetest

import (
	"archive/tar"
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/occystrap/occystrap/pipeline"
)

// When is the time of every entry that Tar writes: some time that no filter
// takes for normal.
var When = time.Unix(1700000000, 0)

// A File is one entry of a layer.
type File struct {
	Name string
	// Body is a regular file's content; Link the target of a link.
	Body, Link string
	// Type is a type flag of archive/tar; 0 is a regular file, or a directory
	// where Name ends in a slash.
	Type byte
	Mode int64
	// UID and GID are the owner.
	UID, GID int
	Time     time.Time // zero: When
	PAX      map[string]string
}

// Tar writes a plain layer.
func Tar(t testing.TB, files ...File) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		if err := w.WriteHeader(f.header()); err != nil {
			t.Fatal(err)
		}
		if f.Body == "" {
			continue
		}
		if _, err := io.WriteString(w, f.Body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (f File) header() *tar.Header {
	h := &tar.Header{Uid: f.UID, Gid: f.GID, Name: f.Name, Linkname: f.Link, Typeflag: f.Type, Mode: f.Mode, Size: int64(len(f.Body)), ModTime: f.Time, PAXRecords: f.PAX}
	if h.ModTime.IsZero() {
		h.ModTime = When
	}
	if h.Mode == 0 {
		h.Mode = 0o644
	}
	if f.Type == 0 && f.Name != "" && f.Name[len(f.Name)-1] == '/' {
		if h.Typeflag = tar.TypeDir; f.Mode == 0 {
			h.Mode = 0o755
		}
	}
	return h
}

// Compress compresses b; Plain returns it as it is.
func Compress(t testing.TB, c pipeline.Compression, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch c {
	case pipeline.Gzip:
		w = gzip.NewWriter(&out)
	case pipeline.Zstd:
		z, err := zstd.NewWriter(&out)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	default:
		return b
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
