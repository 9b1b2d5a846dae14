package tarstream_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// Magic values of header blocks.
const (
	magicPOSIX = "ustar\x0000"
	magicGNU   = "ustar  \x00"
)

// at is bytes to put into a header block.
type at struct {
	offset int
	bytes  string
}

// member is a header block and content as no library would write them.
func member(kind byte, magic, name, content string, fields ...at) []byte {
	b := make([]byte, 512)
	copy(b, name)
	copy(b[100:], "0000644\x000001750\x000001751\x00")
	copy(b[124:], fmt.Sprintf("%011o\x00%011o\x00", len(content), 1000))
	b[156] = kind
	copy(b[257:], magic)
	for _, f := range fields {
		copy(b[f.offset:], f.bytes)
	}
	seal(b)
	b = append(b, content...)
	return append(b, make([]byte, -len(b)&511)...)
}

// seal writes the checksum of a header block.
func seal(b []byte) {
	copy(b[148:], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
}

// records are "key=value" as the content of a PAX header.
func records(kv ...string) string {
	var s []byte
	for _, r := range kv {
		n := len(r) + 2
		for n != len(r)+2+len(strconv.Itoa(n)) {
			n = len(r) + 2 + len(strconv.Itoa(n))
		}
		s = append(s, strconv.Itoa(n)+" "+r+"\n"...)
	}
	return string(s)
}

func pax(kv ...string) []byte { return member('x', magicPOSIX, "PaxHeaders.0/x", records(kv...)) }

// archive is members with the end-of-archive blocks.
func archive(members ...[]byte) []byte {
	return append(slices.Concat(members...), make([]byte, 1024)...)
}

// theirs reads a tar with archive/tar as far as it goes.
func theirs(b []byte) (out []tar.Header, err error) {
	r := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, *h)
	}
}

// ours reads a tar with tarstream as far as it goes.
func ours(b []byte) (out []tarstream.Header, err error) {
	err = tarstream.Read(bytes.NewReader(b), 0, edit{tarstream.NewWriter(io.Discard), func(e *tarstream.Entry) bool {
		out = append(out, *e.Header())
		return true
	}})
	return out, err
}

// seen is what archive/tar and tarstream must agree on. Sizes are not part of
// it: archive/tar gives a sparse file its size on disk.
type seen struct {
	Type               byte
	Name, Linkname     string
	Mode               int64
	UID, GID           int
	Uname, Gname       string
	Times              [3]string
	Devmajor, Devminor int64
}

// stamps shows times; a time of 0 in a header field says none to tarstream.
func stamps(ts ...time.Time) (out [3]string) {
	for i, t := range ts {
		if !t.IsZero() && !t.Equal(time.Unix(0, 0)) {
			out[i] = t.UTC().Format(time.RFC3339Nano)
		}
	}
	return out
}

func seenByThem(hs []tar.Header) []seen {
	var out []seen
	for _, h := range hs {
		if h.Typeflag == tar.TypeXGlobalHeader {
			out = append(out, seen{Type: h.Typeflag})
			continue
		}
		out = append(out, seen{
			h.Typeflag, h.Name, h.Linkname, h.Mode, h.Uid, h.Gid, h.Uname, h.Gname,
			stamps(h.ModTime, h.AccessTime, h.ChangeTime), h.Devmajor, h.Devminor,
		})
	}
	return out
}

func seenByUs(hs []tarstream.Header) []seen {
	var out []seen
	for _, h := range hs {
		if h.Type == tarstream.TypeGlobal {
			out = append(out, seen{Type: h.Type})
			continue
		}
		out = append(out, seen{
			h.Type, h.Name, h.Linkname, h.Mode, h.UID, h.GID, h.Uname, h.Gname,
			stamps(h.ModTime, h.AccessTime, h.ChangeTime), h.Devmajor, h.Devminor,
		})
	}
	return out
}

// agree fails where archive/tar and tarstream read different things.
func agree(t *testing.T, b []byte) {
	t.Helper()
	want, err := theirs(b)
	if err != nil {
		t.Fatalf("archive/tar: %v", err)
	}
	got, err := ours(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(seenByThem(want), seenByUs(got)); d != "" {
		t.Errorf("archive/tar is -, tarstream is +\n%s", d)
	}
}

// zeroTimes is the edit that filters make most.
func zeroTimes(e *tarstream.Entry) bool {
	h := e.Edit()
	h.ModTime, h.AccessTime, h.ChangeTime = time.Unix(0, 0), time.Time{}, time.Time{}
	return true
}
