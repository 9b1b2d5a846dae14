package tarstream_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// recordsOf is the content of the first PAX header of a tar.
func recordsOf(t *testing.T, b []byte) []string {
	t.Helper()
	if b[156] != 'x' {
		return nil
	}
	var out []string
	for s := string(bytes.TrimRight(b[512:1024], "\x00")); s != ""; {
		line, rest, _ := strings.Cut(s, "\n")
		_, record, _ := strings.Cut(line, " ")
		out, s = append(out, record), rest
	}
	return out
}

func TestRecordsKeepTheirOrderAndRepeats(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		in   []string
		f    func(h *tarstream.Header)
		want []string
	}{
		"times go": {
			[]string{"z=1", "mtime=5.5", "a=2", "atime=5", "z=3", "ctime="},
			func(h *tarstream.Header) { h.ModTime, h.AccessTime = time.Unix(0, 0), time.Time{} },
			[]string{"z=1", "a=2", "z=3"},
		},
		"a new time stands at the end": {
			[]string{"mtime=5.5", "z=1", "a=2"},
			func(h *tarstream.Header) { h.ModTime = time.Unix(7, 5e8) },
			[]string{"z=1", "a=2", "mtime=7.5"},
		},
		"sparse 0.0": {
			sparseRecords()["sparse 0.0"],
			func(h *tarstream.Header) { h.ModTime = time.Unix(0, 0) },
			sparseRecords()["sparse 0.0"][1:],
		},
		"sparse 0.1": {
			sparseRecords()["sparse 0.1"],
			func(h *tarstream.Header) { h.Mode = 0o600 },
			sparseRecords()["sparse 0.1"],
		},
		"sparse renamed": {
			sparseRecords()["sparse 0.1"],
			func(h *tarstream.Header) { h.Name = "other" },
			sparse01("other"),
		},
		"changed, removed and new": {
			[]string{"z=1", "gone=1", "z=2", "b=3", "gone=2"},
			func(h *tarstream.Header) { h.Records = map[string]string{"z": "9", "b": "3", "y": "5", "x": "6"} },
			[]string{"z=9", "b=3", "x=6", "y=5"},
		},
		"empty values": {
			[]string{"uid=", "path=", "gid=", "size=", "uname="},
			func(h *tarstream.Header) { h.GID, h.Mode = 5, 0o600 },
			[]string{"uid=", "path=", "size=", "uname="},
		},
		"odd numbers": {
			[]string{"uid=007", "gid=+8", "size=+40"},
			func(h *tarstream.Header) { h.Mode, h.GID = 0o600, 1<<30 },
			[]string{"uid=007", "gid=1073741824", "size=+40"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := archive(pax(c.in...), member('0', magicPOSIX, "file", body))
			out, _ := through(t, in, func(e *tarstream.Entry) bool {
				c.f(e.Edit())
				return true
			})
			if d := cmp.Diff(c.want, recordsOf(t, out)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestHardLinkKeepsItsSizeRecord(t *testing.T) {
	t.Parallel()
	in := archive(pax("size=40", "uid=5"), member('1', magicPOSIX, "l", "", at{157, "file"}))
	out, _ := through(t, in, func(e *tarstream.Entry) bool {
		e.Edit().Linkname = "elsewhere"
		return true
	})
	if d := cmp.Diff([]string{"size=40", "uid=5"}, recordsOf(t, out)); d != "" {
		t.Error(d)
	}
}

func TestEntriesThatDifferInTimesComeOutEqual(t *testing.T) {
	t.Parallel()
	var first []byte
	for _, kv := range [][]string{
		{"v=1", "a=2"},
		{"mtime=5.5", "v=1", "a=2"},
		{"v=1", "atime=7", "mtime=6", "a=2", "ctime=8.25"},
		{"v=1", "a=2", "mtime=", "LIBARCHIVE.creationtime=9"},
	} {
		in := archive(pax(kv...), member('0', magicPOSIX, "file", body))
		out, _ := through(t, in, func(e *tarstream.Entry) bool {
			h := e.Edit()
			h.ModTime, h.AccessTime, h.ChangeTime = time.Unix(7, 5e8), time.Time{}, time.Unix(9, 0)
			delete(h.Records, "LIBARCHIVE.creationtime")
			return true
		})
		if first == nil {
			first = out
		}
		if !bytes.Equal(first, out) {
			t.Errorf("%q comes out as %q, want %q", kv, recordsOf(t, out), recordsOf(t, first))
		}
	}
}

func TestGlobalRecordsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	in := archive(member('g', magicPOSIX, "g", records("z=1", "mtime=5", "uid=", "a=2", "z=3")), member('0', magicPOSIX, "file", body))
	out, _ := through(t, in, zeroTimes)
	want := records("z=1", "uid=", "a=2", "z=3")
	if got := string(bytes.TrimRight(out[512:1024], "\x00")); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRecordThatCannotBeWrittenIsAnError(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(h *tarstream.Header){
		"key with equals":  func(h *tarstream.Header) { h.Records = map[string]string{"a=b": "c"} },
		"no key":           func(h *tarstream.Header) { h.Records = map[string]string{"": "c"} },
		"key with a field": func(h *tarstream.Header) { h.Records = map[string]string{"path": "c"} },
		"name with NUL":    func(h *tarstream.Header) { h.Name = "a\x00b" },
		"too large":        func(h *tarstream.Header) { h.Records = map[string]string{"k": strings.Repeat("v", 1<<20)} },
		"mode":             func(h *tarstream.Header) { h.Mode = 1 << 60 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := archive(member('0', magicPOSIX, "file", body))
			err := tarstream.Read(bytes.NewReader(in), 0, edit{tarstream.NewWriter(&bytes.Buffer{}), func(e *tarstream.Entry) bool {
				f(e.Edit())
				return true
			}})
			if err == nil {
				t.Error("written")
			}
		})
	}
}
