package tarstream_test

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// byHash is a handler that edits, drops and inserts by what an entry's name is.
func byHash(seed uint32) links {
	return func(end tarstream.Handler) tarstream.Handler {
		foreign := three()
		insert := func() error { return tarstream.Read(bytes.NewReader(foreign), 0, entries{end}) }
		entry := func(e *tarstream.Entry) error {
			d := crc32.Update(seed, crc32.IEEETable, []byte(e.Header().Name))
			if d&3 == 0 {
				if err := insert(); err != nil {
					return err
				}
			}
			if d>>2&3 == 0 {
				zeroTimes(e)
			}
			if d>>4&7 == 0 {
				e.Edit().Name += long
			}
			if d>>7&3 != 0 {
				if err := end.Entry(e); err != nil {
					return err
				}
			}
			if d>>9&3 == 0 {
				return insert()
			}
			return nil
		}
		return handler{entry, func(rest io.Reader) error {
			switch seed & 7 {
			case 0:
				rest = io.LimitReader(rest, int64(seed>>3&4095))
			case 1:
				rest = io.MultiReader(rest)
			}
			return end.End(rest)
		}}
	}
}

// FuzzEditorAgreesWithRead: whatever comes, an Editor does what Read and a
// Writer do.
func FuzzEditorAgreesWithRead(f *testing.F) {
	for i, inputs := range []map[string][]byte{samples(f), oddities(), {"three": three()}} {
		for _, in := range inputs {
			f.Add(in, uint32(i), uint64(0))
			f.Add(in, uint32(i+77), uint64(len(in)))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint32, mutation uint64) {
		if len(in) >= 512 && mutation > 0 {
			in = mutate(rand.New(rand.NewPCG(mutation, 0)), in)
			in = in[:len(in)-int(mutation>>32)%512]
		}
		same(t, in, 1000, byHash(seed))
	})
}

// BenchmarkEditor is what an Editor costs for each header, beside what Read
// and a Detector cost.
func BenchmarkEditor(b *testing.B) {
	const n = 10_000
	var all [][]byte
	for i := range n {
		all = append(all, member('0', magicPOSIX, fmt.Sprintf("usr/share/doc/package/%d", i), body))
	}
	in := archive(all...)
	none := func(int64, int64, []byte) error { return nil }
	for name, f := range map[string]func(*tarstream.Entry) bool{"keep": keep, "edit": zeroTimes, "drop": func(*tarstream.Entry) bool { return false }} {
		b.Run("Editor/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				e, _ := tarstream.NewEditor(0, func(end tarstream.Handler) (tarstream.Handler, error) { return edit{end, f}, nil })
				for off, n, _ := e.Next(); n > 0; off, n, _ = e.Next() {
					if err := e.Patch(in[off:min(off+int64(n), int64(len(in)))], none); err != nil {
						b.Fatal(err)
					}
				}
				e.Close()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/header")
		})
		b.Run("Read/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := tarstream.Read(bytes.NewReader(in), 0, edit{tarstream.NewWriter(io.Discard), f}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/header")
		})
	}
}
