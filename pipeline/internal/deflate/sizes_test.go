package deflate_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// realTar is a tar of files that are installed here, and the offsets of their
// headers, or nothing.
func realTar(most int) (plain []byte, headers []int64) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, dir := range []string{"/usr/share", "/usr/lib", "/usr/include"} {
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || buf.Len() > most {
				return fs.SkipAll
			}
			info, err := d.Info()
			if err != nil || !info.Mode().IsRegular() || info.Size() > 1<<20 || len(path) > 90 {
				return nil //nolint:nilerr // it is one file less
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return nil //nolint:nilerr // as above
			}
			_ = w.Flush()
			at := int64(buf.Len())
			h := &tar.Header{Name: path[1:], Mode: 0o644, Size: int64(len(b)), ModTime: info.ModTime(), Format: tar.FormatUSTAR}
			if err := w.WriteHeader(h); err != nil {
				return nil //nolint:nilerr // as above
			}
			headers = append(headers, at)
			_, _ = w.Write(b)
			return nil
		})
	}
	_ = w.Close()
	return buf.Bytes(), headers
}

// TestSizes measures what edits of real files cost: header times, which is what
// we are for, and a fifth of the entries excluded. That depends on the files: a
// match whose source went is literals then, and small files of one kind, as in
// /usr/share, have many.
func TestSizes(t *testing.T) {
	few(t)
	t.Parallel()
	plain, headers := realTar(32 << 20)
	in := run(t, plain, "gzip", "-6", "-c")
	if len(in) < 5<<20 {
		t.Skipf("only %d bytes", len(in))
	}
	var times, fewer []edit
	r := rand.New(rand.NewPCG(1, 1))
	for i, h := range headers {
		with := bytes.Clone(plain[h+136 : h+156])
		copy(with, fmt.Sprintf("%011o\x00", 1700000000))
		sum := 0
		copy(with[12:], "        ")
		for j, c := range plain[h : h+512] {
			if j >= 136 && j < 156 {
				c = with[j-136]
			}
			sum += int(c)
		}
		copy(with[12:], fmt.Sprintf("%06o\x00 ", sum))
		times = append(times, edit{h + 136, 20, with})
		if i+1 < len(headers) && r.IntN(5) == 0 {
			fewer = append(fewer, edit{h, headers[i+1] - h, nil})
		}
	}
	out, res := mustTranscode(t, in, plain, each(times...))
	t.Logf("%d headers: %d bytes are %d (%+.4f %%), %+v", len(times), len(in), len(out), percent(len(out), len(in)), res.Stats)
	if percent(len(out), len(in)) > 0.1 {
		t.Error("much larger")
	}
	out, res = mustTranscode(t, in, plain, each(fewer...))
	anew := run(t, applied(plain, fewer...), "gzip", "-6", "-c")
	t.Logf("%d of %d entries excluded: %d bytes, gzip -6 makes %d (%+.4f %%), %+v", len(fewer), len(headers), len(out), len(anew), percent(len(out), len(anew)), res.Stats)
	if percent(len(out), len(anew)) > 5 {
		t.Error("much larger than compressed anew")
	}
}

func percent(a, b int) float64 { return 100 * (float64(a)/float64(b) - 1) }
