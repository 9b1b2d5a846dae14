package tarstream_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

const body = "forty bytes of content for a small file."

// oddities are tars about which readers may differ: daemons read with
// archive/tar, so what it says holds.
func oddities() map[string][]byte {
	file := func(fields ...at) []byte { return member('0', magicPOSIX, "file", body, fields...) }
	gnuFile := func(fields ...at) []byte { return member('0', magicGNU, "file", body, fields...) }
	long := func(kind byte, s string) []byte { return member(kind, magicGNU, "././@LongLink", s) }
	after := member('0', magicPOSIX, "after", body)
	out := map[string][]byte{
		"empty numbers":           archive(pax("uid=", "gid=", "size=", "mtime=", "atime=", "ctime="), file(), after),
		"empty strings":           archive(pax("path=", "linkpath=", "uname=", "gname="), file(at{265, "root"}), after),
		"repeat with empty last":  archive(pax("uid=5", "path=x", "uid=", "path="), file(), after),
		"repeat with empty first": archive(pax("uid=", "uid=5", "path=", "path=x"), file(), after),
		"empty long name":         archive(long('L', "\x00"), long('K', ""), gnuFile(at{157, "target"}), after),
		"second long name empty":  archive(long('L', "first\x00"), long('L', "\x00"), gnuFile(), after),
		"long name over path":     archive(pax("path=pax", "linkpath=pax"), long('L', "gnu\x00"), long('K', "gnu\x00"), file(), after),
		"path after long name":    archive(long('L', "gnu\x00"), long('K', "gnu\x00"), pax("path=pax", "linkpath=pax"), file(), after),
		"empty long name and pax": archive(long('L', "\x00"), pax("path=pax"), file(), after),
		"sparse name alone":       archive(pax("GNU.sparse.name=other"), file(), after),
		"sparse name, no version": archive(pax("GNU.sparse.major=2", "GNU.sparse.minor=0", "GNU.sparse.name=other"), file(), after),
		"sparse name, minor only": archive(pax("GNU.sparse.minor=1", "GNU.sparse.map=0,40", "GNU.sparse.name=other"), file(), after),
		"old Go prefix":           archive(gnuFile(at{345, "some/dir"}), after),
		"old Go prefix in ctime":  archive(gnuFile(at{345, "00000000007\x00xyz"}), after),
		"old Go prefix not ASCII": archive(gnuFile(at{345, "s\xc3\xb6me/dir"}), after),
		"old Go prefix, NUL":      archive(gnuFile(at{345, "\x00ome/dir"}), after),
		"old Go prefix of digits": archive(gnuFile(at{345, "1234567"}), after),
		"old Go prefix, PAX":      archive(pax("path=pax"), gnuFile(at{345, "some/dir"}), after),
		"negative directory":      archive(member('5', magicPOSIX, "d/", "", at{124, strings.Repeat("\xff", 12)}), after),
		"huge directory":          archive(member('5', magicPOSIX, "d/", "", at{124, "77777777777"}), after),
		"signed checksum":         archive(signed(member('0', magicPOSIX, "f\xfcnf\xe4", body, at{265, "\xff"})), after),
		"V7 directory":            archive(member(0, "", "d/", ""), after),
		"V7 file made directory":  archive(pax("path=d/"), member(0, "", "d", ""), after),
		"V7 file, sparse name":    archive(pax(sparse01("d/")...), member(0, "", "d", body), after),
		"hard link with size":     archive(file(), pax("size=40"), member('1', magicPOSIX, "l", "", at{157, "file"}), after),
	}
	for name, kv := range sparseRecords() {
		out[name] = archive(pax(kv...), file(), after)
	}
	return out
}

func sparse01(name string) []string {
	return []string{
		"GNU.sparse.size=9000", "GNU.sparse.numblocks=2", "GNU.sparse.name=" + name,
		"GNU.sparse.map=0,20,8000,20",
	}
}

// sparseRecords are the PAX sparse formats in GNU tar's own order of records.
func sparseRecords() map[string][]string {
	pieces := []string{
		"GNU.sparse.offset=0", "GNU.sparse.numbytes=20",
		"GNU.sparse.offset=8000", "GNU.sparse.numbytes=20",
	}
	return map[string][]string{
		"sparse 0.0":         append([]string{"mtime=5.5", "GNU.sparse.size=9000", "GNU.sparse.numblocks=2"}, pieces...),
		"sparse 0.0, named":  append([]string{"GNU.sparse.size=9000", "GNU.sparse.numblocks=2", "GNU.sparse.name=real"}, pieces...),
		"sparse 0.0, tagged": append([]string{"GNU.sparse.major=0", "GNU.sparse.minor=0", "GNU.sparse.name=real", "GNU.sparse.size=9000", "GNU.sparse.numblocks=2"}, pieces...),
		"sparse 0.1":         append([]string{"path=./GNUSparseFile.7/real"}, sparse01("real")...),
	}
}

func TestHeaderIsReadAsDaemonsReadIt(t *testing.T) {
	t.Parallel()
	for name, in := range oddities() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			agree(t, in)
		})
	}
}

func TestEditLeavesTheRestAsDaemonsReadIt(t *testing.T) {
	t.Parallel()
	edits := map[string]struct {
		f    func(h *tarstream.Header)
		want func(s *seen)
	}{
		"nothing":   {func(*tarstream.Header) {}, func(*seen) {}},
		"name":      {func(h *tarstream.Header) { h.Name = "renamed" }, func(s *seen) { s.Name = "renamed" }},
		"long name": {func(h *tarstream.Header) { h.Name = long }, func(s *seen) { s.Name = long }},
		"link":      {func(h *tarstream.Header) { h.Linkname = "to" }, func(s *seen) { s.Linkname = "to" }},
		"long link": {func(h *tarstream.Header) { h.Linkname = long }, func(s *seen) { s.Linkname = long }},
		"uid":       {func(h *tarstream.Header) { h.UID = 7 }, func(s *seen) { s.UID = 7 }},
		"large uid": {func(h *tarstream.Header) { h.UID = 1 << 40 }, func(s *seen) { s.UID = 1 << 40 }},
		"owner":     {func(h *tarstream.Header) { h.Uname = "ünï" }, func(s *seen) { s.Uname = "ünï" }},
		"no owner":  {func(h *tarstream.Header) { h.Uname = "" }, func(s *seen) { s.Uname = "" }},
		"times": {
			func(h *tarstream.Header) { h.ModTime, h.AccessTime, h.ChangeTime = sub, sub, old },
			func(s *seen) { s.Times = stamps(sub, sub, old) },
		},
	}
	for name, c := range edits {
		for odd, in := range oddities() {
			t.Run(name+"/"+odd, func(t *testing.T) {
				t.Parallel()
				before, _ := theirs(in)
				out, _ := through(t, in, func(e *tarstream.Entry) bool {
					c.f(e.Edit())
					return true
				})
				agree(t, out)
				want := seenByThem(before)
				for i := range want {
					c.want(&want[i])
				}
				after, _ := theirs(out)
				if d := cmp.Diff(want, seenByThem(after)); d != "" {
					t.Error(d)
				}
				if _, changed := through(t, out, func(e *tarstream.Entry) bool {
					c.f(e.Edit())
					return true
				}); changed {
					t.Error("the same edit once more changed bytes")
				}
			})
		}
	}
}

// TestMutatedHeaderIsReadAsDaemonsReadIt: what archive/tar reads, tarstream
// reads in the same way, or refuses; an edit of the times changes nothing else
// that archive/tar sees.
func TestMutatedHeaderIsReadAsDaemonsReadIt(t *testing.T) {
	t.Parallel()
	const rounds = 20000
	all := oddities()
	maps.Copy(all, samples(t))
	delete(all, "nothing")
	var inputs [][]byte
	for _, name := range slices.Sorted(maps.Keys(all)) {
		inputs = append(inputs, all[name])
	}
	r := rand.New(rand.NewPCG(3, 4))
	read := 0
	for range rounds {
		in := mutate(r, inputs[r.IntN(len(inputs))])
		want, err := theirs(in)
		if err != nil {
			continue
		}
		got, err := ours(in)
		if err != nil {
			if !errors.Is(err, tarstream.ErrFormat) {
				t.Fatalf("%v\n%q", err, in)
			}
			continue
		}
		read++
		if d := cmp.Diff(seenByThem(want), seenByUs(got)); d != "" {
			t.Fatalf("archive/tar is -, tarstream is +\n%s\n%q", d, in)
		}
		var out bytes.Buffer
		if err := tarstream.Read(bytes.NewReader(in), 0, edit{tarstream.NewWriter(&out), zeroTimes}); err != nil {
			t.Fatalf("%v\n%q", err, in)
		}
		after, err := theirs(out.Bytes())
		if err != nil {
			t.Fatalf("edited: %v\n%q", err, in)
		}
		if d := cmp.Diff(timeless(seenByThem(want)), timeless(seenByThem(after))); d != "" {
			t.Fatalf("edited\n%s\n%q", d, in)
		}
	}
	if read < rounds/10 {
		t.Errorf("only %d of %d mutations were readable", read, rounds)
	}
}

// timeless drops times, and global headers, which vanish with their last record.
func timeless(in []seen) []seen {
	var out []seen
	for _, s := range in {
		if s.Type != tarstream.TypeGlobal {
			s.Times = [3]string{}
			out = append(out, s)
		}
	}
	return out
}

// mutate changes some bytes of one block, and makes its checksum right if it
// looks like a header.
func mutate(r *rand.Rand, in []byte) []byte {
	out := bytes.Clone(in)
	block := out[r.IntN(len(out)/512)*512:][:512]
	bytesOf := "\x00\x00 07/=x.\x80\xff\xc3LKxgS015"
	header := bytes.Equal(block[148:155], sealed(block)[148:155])
	for range 1 + r.IntN(4) {
		at := r.IntN(512)
		if r.IntN(2) == 0 { // where the fields are that decide
			at = []int{124, 125, 136, 156, 257, 262, 263, 329, 345, 357, 368, 482, 500, 508}[r.IntN(14)]
		}
		block[at] = bytesOf[r.IntN(len(bytesOf))]
	}
	if header {
		seal(block)
	}
	return out
}

// signed gives a member the checksum that old programs with signed bytes wrote.
func signed(b []byte) []byte {
	copy(b[148:], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(int8(c))
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

func sealed(block []byte) []byte {
	b := bytes.Clone(block)
	seal(b)
	return b
}
