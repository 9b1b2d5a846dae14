package tarstream_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// edit is a handler that edits, or removes, entries.
type edit struct {
	tarstream.Handler
	f func(e *tarstream.Entry) (keep bool)
}

func (h edit) Entry(e *tarstream.Entry) error {
	if !h.f(e) {
		return nil
	}
	return h.Handler.Entry(e)
}

// through runs a tar through f.
func through(t *testing.T, in []byte, f func(e *tarstream.Entry) bool) (out []byte, changed bool) {
	t.Helper()
	var b bytes.Buffer
	w := tarstream.NewWriter(&b)
	if err := tarstream.Read(bytes.NewReader(in), 0, edit{w, f}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), w.Changed()
}

func keep(*tarstream.Entry) bool { return true }

// entry is one member for build.
type entry struct {
	h    tar.Header
	body string
}

func build(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.h.Size = int64(len(e.body))
		if e.h.Mode == 0 && e.h.Typeflag != tar.TypeXGlobalHeader {
			e.h.Mode = 0o644
		}
		if err := w.WriteHeader(&e.h); err != nil {
			t.Fatal(err)
		}
		if e.body == "" {
			continue
		}
		if _, err := io.WriteString(w, e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var (
	old  = time.Unix(1700000000, 0)
	sub  = time.Unix(1700000000, 123456789)
	long = strings.Repeat("directory/", 30) + "file"
)

// samples are tars in every dialect that archive/tar writes.
func samples(t testing.TB) map[string][]byte {
	xattrs := map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20", "VENDOR.unknown": "kept"}
	return map[string][]byte{
		"ustar": build(t, entry{tar.Header{Name: "a/", Typeflag: tar.TypeDir, ModTime: old, Format: tar.FormatUSTAR}, ""},
			entry{tar.Header{Name: "a/b", ModTime: old, Uname: "root", Format: tar.FormatUSTAR}, strings.Repeat("x", 1000)},
			entry{tar.Header{Name: "a/l", Typeflag: tar.TypeLink, Linkname: "a/b", ModTime: old}, ""},
			entry{tar.Header{Name: "dev", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, ModTime: old}, ""}),
		"ustar prefix": build(t, entry{tar.Header{Name: long[:199], ModTime: old, Format: tar.FormatUSTAR}, "x"}),
		"pax": build(t, entry{tar.Header{Name: long, ModTime: sub, AccessTime: sub, ChangeTime: sub, Format: tar.FormatPAX, PAXRecords: xattrs}, "body"},
			entry{tar.Header{Name: "ünïcode", Typeflag: tar.TypeSymlink, Linkname: long, ModTime: old, Format: tar.FormatPAX}, ""}),
		"gnu": build(t, entry{tar.Header{Name: long, ModTime: old, AccessTime: old, ChangeTime: old, Format: tar.FormatGNU}, "body"},
			entry{tar.Header{Name: "big", Uid: 1 << 30, ModTime: old, Format: tar.FormatGNU}, "body"},
			entry{tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: long, ModTime: old, Format: tar.FormatGNU}, ""}),
		"global": build(t, entry{tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "c", "mtime": "5"}}, ""},
			entry{tar.Header{Name: "f", ModTime: old}, "x"}),
		"old GNU sparse": oldSparse(t),
		"empty":          make([]byte, 1024),
		"nothing":        nil,
	}
}

// oldSparse is a GNU sparse file with a map that continues in another block.
func oldSparse(t testing.TB) []byte {
	b := build(t, entry{tar.Header{Name: "sparse", ModTime: old, Format: tar.FormatGNU}, strings.Repeat("d", 512)})
	h := b[:512]
	h[156] = 'S'
	copy(h[386:], "00000000000\x0000000001000\x00")
	h[482] = 1
	copy(h[483:], "00000100000\x00")
	copy(h[148:], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	extra := make([]byte, 512)
	copy(extra, "00000077777\x0000000000000\x00")
	return append(append(bytes.Clone(h), extra...), b[512:]...)
}

func TestUntouchedEntryIsByteForByte(t *testing.T) {
	t.Parallel()
	for name, in := range samples(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, changed := through(t, in, keep)
			if changed || !bytes.Equal(in, out) {
				t.Errorf("changed = %v, equal = %v", changed, bytes.Equal(in, out))
			}
			if err := tarstream.Read(bytes.NewReader(in), 0, &tarstream.Detector{}); err != nil {
				t.Errorf("Detector: %v", err)
			}
		})
	}
}

// headers reads a tar with archive/tar, PAX time records and all.
func headers(t testing.TB, b []byte) (out []tar.Header, bodies []string) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out, bodies
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		h.Format = 0
		out, bodies = append(out, *h), append(bodies, string(body))
	}
}

func TestTimeEditChangesTimesOnly(t *testing.T) {
	t.Parallel()
	for name, in := range samples(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, _ := through(t, in, zeroTimes)
			want, wantBodies := headers(t, in)
			got, gotBodies := headers(t, out)
			for i := range want {
				h := &want[i]
				h.ModTime, h.AccessTime, h.ChangeTime = time.Unix(0, 0), time.Time{}, time.Time{}
				if h.Typeflag == tar.TypeXGlobalHeader {
					h.ModTime = time.Time{}
				}
				for _, k := range []string{"mtime", "atime", "ctime"} {
					delete(h.PAXRecords, k)
				}
				if len(h.PAXRecords) == 0 {
					h.PAXRecords = nil
				}
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(wantBodies, gotBodies); d != "" {
				t.Error(d)
			}
			again, changed := through(t, out, zeroTimes)
			if changed || !bytes.Equal(again, out) {
				t.Error("a second edit changed bytes")
			}
		})
	}
}

func TestEditedFieldIsReadBack(t *testing.T) {
	t.Parallel()
	cases := map[string]func(h *tarstream.Header){
		"short name":     func(h *tarstream.Header) { h.Name = "n" },
		"long name":      func(h *tarstream.Header) { h.Name = long + "2" },
		"prefix name":    func(h *tarstream.Header) { h.Name = long[:149] },
		"unicode name":   func(h *tarstream.Header) { h.Name = "é" },
		"long link":      func(h *tarstream.Header) { h.Linkname = long + "3" },
		"large uid":      func(h *tarstream.Header) { h.UID, h.GID = 1<<29, 1<<28 },
		"mode":           func(h *tarstream.Header) { h.Mode = 0o4755 },
		"owner":          func(h *tarstream.Header) { h.Uname, h.Gname = "someone", "ünï" },
		"fraction":       func(h *tarstream.Header) { h.ModTime = sub },
		"before 1970":    func(h *tarstream.Header) { h.ModTime = time.Unix(-7, 500000000) },
		"after 2242":     func(h *tarstream.Header) { h.ModTime = time.Unix(1<<34, 0) },
		"unknown record": func(h *tarstream.Header) { h.Records = map[string]string{"VENDOR.new": "v"} },
	}
	for name, f := range cases {
		for sample, in := range samples(t) {
			t.Run(name+"/"+sample, func(t *testing.T) {
				t.Parallel()
				var want []tarstream.Header
				out, _ := through(t, in, func(e *tarstream.Entry) bool {
					if e.Header().Type == tarstream.TypeGlobal {
						return false
					}
					f(e.Edit())
					want = append(want, *e.Header())
					return true
				})
				var got []tarstream.Header
				_, changed := through(t, out, func(e *tarstream.Entry) bool {
					got = append(got, *e.Header())
					return true
				})
				if d := cmp.Diff(want, got, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); d != "" || changed {
					t.Errorf("changed = %v\n%s", changed, d)
				}
				headers(t, out) // archive/tar takes it too
			})
		}
	}
}

func TestRemovalIsAChange(t *testing.T) {
	t.Parallel()
	in := samples(t)["ustar"]
	n := 4
	for drop := range n {
		i := -1
		f := func(*tarstream.Entry) bool { i++; return i != drop }
		out, changed := through(t, in, f)
		got, _ := headers(t, out)
		if !changed || len(got) != n-1 {
			t.Errorf("drop %d: changed = %v, %d entries left", drop, changed, len(got))
		}
		i = -1
		if err := tarstream.Read(bytes.NewReader(in), 0, edit{&tarstream.Detector{}, f}); !errors.Is(err, tarstream.ErrChanged) {
			t.Errorf("drop %d: Detector says %v", drop, err)
		}
	}
}

func TestReplacingAllEntriesIsAChange(t *testing.T) {
	t.Parallel()
	in := archive(member('0', magicPOSIX, "a", body))
	foreign := archive(member('0', magicPOSIX, "b", body))
	w := tarstream.NewWriter(io.Discard)
	err := tarstream.Read(bytes.NewReader(in), 0, edit{w, func(*tarstream.Entry) bool {
		return tarstream.Read(bytes.NewReader(foreign), 0, entries{w}) != nil
	}})
	if err != nil || !w.Changed() {
		t.Errorf("changed = %v, %v", w.Changed(), err)
	}
}

func TestMalformedTarIsAnError(t *testing.T) {
	t.Parallel()
	good := samples(t)["pax"]
	cut := func(n int) []byte { return bytes.Clone(good[:n]) }
	lone := append(bytes.Clone(good[:0]), make([]byte, 512)...)
	lone = append(lone, good...)
	broken := bytes.Clone(good)
	broken[150] ^= 1
	cases := map[string]struct {
		in   []byte
		want error
	}{
		"cut in a header":     {cut(700), io.ErrUnexpectedEOF},
		"cut in content":      {samples(t)["ustar"][:1300], io.ErrUnexpectedEOF},
		"cut after extension": {cut(512), io.ErrUnexpectedEOF},
		"checksum":            {broken, tarstream.ErrFormat},
		"text":                {[]byte(strings.Repeat("not a tar ", 100)), tarstream.ErrFormat},
		"single zero block":   {lone, tarstream.ErrFormat},
		"short":               {[]byte("x"), io.ErrUnexpectedEOF},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tarstream.Read(bytes.NewReader(c.in), 0, tarstream.NewWriter(io.Discard))
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestEntriesAreLimited(t *testing.T) {
	t.Parallel()
	err := tarstream.Read(bytes.NewReader(samples(t)["ustar"]), 3, tarstream.NewWriter(io.Discard))
	if !errors.Is(err, tarstream.ErrTooManyEntries) {
		t.Error(err)
	}
}

func TestTrailingBytesSurvive(t *testing.T) {
	t.Parallel()
	in := slices.Concat(samples(t)["ustar"], bytes.Repeat([]byte("trailing"), 1000))
	out, changed := through(t, in, keep)
	if changed || !bytes.Equal(in, out) {
		t.Error("what follows the archive was not copied")
	}
}

// FuzzRead: no input panics; what is read without edits is written as it was;
// what is read with edits can be read again, and the same edits change nothing
// then.
func FuzzRead(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(s)
	}
	for _, s := range oddities() {
		f.Add(s)
	}
	r := rand.New(rand.NewPCG(1, 2))
	junk := make([]byte, 2048)
	for i := range junk {
		junk[i] = byte(r.Uint32())
	}
	f.Add(junk)
	f.Fuzz(func(t *testing.T, in []byte) {
		var b bytes.Buffer
		if err := tarstream.Read(bytes.NewReader(in), 1000, tarstream.NewWriter(&b)); err != nil {
			return
		}
		if !bytes.Equal(b.Bytes(), in) {
			t.Fatal("unedited bytes differ")
		}
		b.Reset()
		if err := tarstream.Read(bytes.NewReader(in), 1000, edit{tarstream.NewWriter(&b), zeroTimes}); err != nil {
			t.Fatal(err)
		}
		if err := tarstream.Read(bytes.NewReader(b.Bytes()), 1000, edit{&tarstream.Detector{}, zeroTimes}); err != nil {
			t.Fatalf("edited tar: %v", err)
		}
	})
}
