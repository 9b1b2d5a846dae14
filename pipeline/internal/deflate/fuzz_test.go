package deflate_test

import (
	"archive/tar"
	"bytes"
	stdgzip "compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline/internal/deflate"
)

// streamFiles are small streams that tools made which a machine may not have.
func streamFiles(tb testing.TB) map[string][]byte {
	tb.Helper()
	all := map[string][]byte{}
	names, err := filepath.Glob("testdata/streams/*.gz")
	if err != nil || len(names) == 0 {
		tb.Fatal("no streams: ", err)
	}
	for _, name := range names {
		if all[filepath.Base(name)], err = os.ReadFile(name); err != nil {
			tb.Fatal(err)
		}
	}
	return all
}

// imageLayers are the compressed layers of real images: of Docker, kaniko, an
// eStargz one.
func imageLayers(tb testing.TB) map[string][]byte {
	tb.Helper()
	all := map[string][]byte{}
	names, err := filepath.Glob("../../scheme/tarball/testdata/images/*.tar")
	if err != nil || len(names) == 0 {
		tb.Fatal("no images: ", err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		for r := tar.NewReader(bytes.NewReader(b)); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				tb.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if err != nil {
				tb.Fatal(err)
			}
			if bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
				all[filepath.Base(name)+"/"+filepath.Base(h.Name)] = b
			}
		}
	}
	return all
}

// seeds are the streams that fuzzing starts from.
func seeds(f *testing.F) (all [][]byte) {
	const most = 24 << 10
	for _, b := range streamFiles(f) {
		all = append(all, b)
	}
	for _, b := range smallStreams(f) {
		all = append(all, b)
	}
	for _, b := range imageLayers(f) {
		all = append(all, b[:min(len(b), most)])
	}
	for _, b := range blocks() {
		all = append(all, append(headerSum(0), b...))
	}
	// As BuildKit compresses: Go's compressor at its default level.
	plain := makeTar(rand.New(rand.NewPCG(8, 8)), 20000)
	return append(all, stdGzip(plain[:min(len(plain), 60000)], stdgzip.DefaultCompression))
}

// fuzzMost is how many plain bytes a stream may have, to be of use.
const fuzzMost = 2 << 20

// expected is what compress/gzip makes of a stream. Not ok: it says nothing
// about it, since it is too much, or one of the headers where it differs.
func expected(in []byte) (plain []byte, ok bool, err error) {
	z, err := stdgzip.NewReader(bytes.NewReader(in))
	if err == nil {
		plain, err = io.ReadAll(io.LimitReader(z, fuzzMost+1))
	}
	_, ours := inflate(in)
	switch {
	case len(plain) > fuzzMost:
		return nil, false, nil
	case err == nil && reserved(in, ours):
		return nil, false, nil
	case errors.Is(err, stdgzip.ErrHeader) && longName(in):
		return nil, false, nil
	}
	return plain, true, err
}

// longName says whether there may be a name of more than the 511 bytes that
// compress/gzip takes.
func longName(in []byte) bool { return len(in) > 512 }

func FuzzReader(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		plain, ok, err := expected(in)
		if !ok {
			return
		}
		got, gerr := inflate(in)
		if (err == nil) != (gerr == nil) {
			t.Fatalf("%v; compress/gzip: %v", gerr, err)
		}
		if n := min(len(got), len(plain)); !bytes.Equal(got[:n], plain[:n]) || err == nil && len(got) != len(plain) {
			t.Fatalf("%d bytes, compress/gzip: %d, first difference at %d", len(got), len(plain), difference(got, plain))
		}
		if gerr != nil && !errors.Is(gerr, deflate.ErrCorrupt) && !errors.Is(gerr, io.ErrUnexpectedEOF) {
			t.Fatal(gerr)
		}
		again, aerr := io.ReadAll(deflate.NewReader(chunks{bytes.NewReader(in), rand.New(rand.NewPCG(uint64(len(in)), 1))}))
		if (aerr == nil) != (gerr == nil) || err == nil && !bytes.Equal(again, got) {
			t.Fatalf("in pieces: %v, else %v", aerr, gerr)
		}
	})
}

func FuzzTranscode(f *testing.F) {
	for i, b := range seeds(f) {
		f.Add(b, uint64(i))
		f.Add(b, uint64(i+1000))
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		plain, ok, err := expected(in)
		if !ok {
			return
		}
		if err == nil {
			check(t, "fuzz", in, plain, seed)
			return
		}
		if _, terr := deflate.Transcode(io.Discard, bytes.NewReader(in), newScript(seed, plain), deflate.Options{}); terr == nil {
			t.Fatalf("no error; compress/gzip: %v", err)
		}
		if _, terr := deflate.Transcode(io.Discard, bytes.NewReader(in), each(), deflate.Options{}); terr == nil || strings.Contains(terr.Error(), "patcher") {
			t.Fatalf("%v; compress/gzip: %v", terr, err)
		}
	})
}
