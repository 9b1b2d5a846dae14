package filter_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/internal/codec"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// edited is a layer as filters leave it that see nothing but its headers.
func edited(t testing.TB, l pipeline.LayerInfo, layer []byte, limit int64, fs []pipeline.LayerFilter) (out []byte, changed bool, err error) {
	t.Helper()
	e, err := tarstream.NewEditor(limit, func(end tarstream.Handler) (tarstream.Handler, error) { return chain(t, l, end, fs), nil })
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	size, at := int64(len(layer)), int64(0)
	e.End(size)
	for off, n, _ := e.Next(); n > 0; off, n, _ = e.Next() {
		region := layer[min(off, size):min(off+int64(n), size)]
		err := e.Patch(region, func(off, old int64, with []byte) error {
			if off < at {
				return fmt.Errorf("replace at %d, after %d", off, at)
			}
			out = append(append(out, layer[at:off]...), with...)
			if at = off + old; old < 0 || at > size {
				at = size
			}
			return nil
		})
		if err != nil {
			return nil, false, err
		}
	}
	return append(out, layer[at:]...), e.Changed(), nil
}

// wantEdited fails unless an Editor makes of a layer what Read makes of it.
func wantEdited(t testing.TB, l pipeline.LayerInfo, layer []byte, fs []pipeline.LayerFilter, want []byte) {
	t.Helper()
	got, changed, err := edited(t, l, layer, 0, fs)
	if err != nil {
		t.Errorf("editor: %v", err)
	} else if !bytes.Equal(got, want) || changed == bytes.Equal(got, layer) {
		t.Errorf("the editor makes %d bytes (changed=%t), the writer %d", len(got), changed, len(want))
	}
}

// sampleLayers are the tars in real archives, compressed or not.
func sampleLayers(t *testing.T) [][]byte {
	t.Helper()
	names, err := filepath.Glob("../scheme/tarball/testdata/images/*.tar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	var out [][]byte
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b) // an archive is a tar as well
		for r := tar.NewReader(bytes.NewReader(b)); ; {
			if _, err := r.Next(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			plain, _, err := codec.NewReader(r)
			if err != nil {
				continue
			}
			layer, err := io.ReadAll(plain)
			plain.Close()
			if err == nil && len(layer) > 512 && string(layer[257:262]) == "ustar" {
				out = append(out, layer)
			}
		}
	}
	return out
}

func TestEditorMakesOfRealLayersWhatReadMakes(t *testing.T) {
	t.Parallel()
	layers := sampleLayers(t)
	if len(layers) < 30 {
		t.Errorf("only %d layers", len(layers))
	}
	for _, specs := range [][]string{
		{"normalize-timestamps"},
		{"normalize-timestamps:ts=1500000000,mode=clamp"},
		{"exclude:pattern=*s*"},
		{"exclude:pattern=bin/[,**/*.json,**/.wh.*"},
		{"exclude:pattern=**/b*", "normalize-timestamps"},
		{"normalize-timestamps:ts=7", "exclude:pattern=nothing"},
	} {
		t.Run(fmt.Sprint(specs), func(t *testing.T) {
			t.Parallel()
			for i, layer := range layers {
				apply(t, layers[:i%3], layer, specs...) // compares
			}
		})
	}
}

func TestEditorMakesOfOddEntriesWhatReadMakes(t *testing.T) {
	t.Parallel()
	var all []byte
	for _, b := range oddEntries(1_600_000_000) {
		all = append(all, b...)
	}
	layer := append(join(all, link("x", "ustar").raw(t), link("y", "ustar").raw(t), file("z/.wh.ustar", "").raw(t)), make([]byte, 9<<10)...)
	below := [][]byte{tarOf(t, dir("z"), file("z/ustar", "u"), file("low", "content"))}
	for _, specs := range [][]string{
		{"normalize-timestamps"},
		{"normalize-timestamps:ts=1600000000"},
		{"normalize-timestamps:mode=clamp,ts=5"},
		{"exclude:pattern=ustar,holes,**/ustar"},
		{"exclude:pattern=*"},
		{"exclude:pattern=v7*,sparse,ustar", "normalize-timestamps:ts=9"},
		{"normalize-timestamps:ts=9", "exclude:pattern=big,x"},
	} {
		apply(t, below, layer, specs...) // compares
	}
}

// raw is a member without the end of an archive.
func (m member) raw(t testing.TB) []byte {
	b := tarOf(t, m)
	return b[:len(b)-1024]
}

func TestEditorFailsOnACutLayerAsReadDoes(t *testing.T) {
	t.Parallel()
	layer := tarOf(t, file("a", "content"), file("b", "more"), link("c", "a"))
	fs := []pipeline.LayerFilter{
		newFilter(t, filter.Defaults{TempDir: t.TempDir()}, "exclude:pattern=b").(pipeline.LayerFilter),
		newFilter(t, filter.Defaults{}, "normalize-timestamps").(pipeline.LayerFilter),
	}
	for n := range len(layer) {
		l := layerInfo(nil, layer[:n])
		var w bytes.Buffer
		want := tarstream.Read(bytes.NewReader(layer[:n]), 0, chain(t, l, tarstream.NewWriter(&w), fs))
		got, _, err := edited(t, l, layer[:n], 0, fs)
		if errors.Is(want, io.ErrUnexpectedEOF) != errors.Is(err, io.ErrUnexpectedEOF) || (want == nil) != (err == nil) {
			t.Fatalf("cut at %d: editor: %v, writer: %v", n, err, want)
		}
		if err == nil && !bytes.Equal(got, w.Bytes()) {
			t.Fatalf("cut at %d: they differ", n)
		}
	}
}

// FuzzEditorWithFilters: whatever the layer, both filters leave the same behind
// whether they see all of it or its headers.
func FuzzEditorWithFilters(f *testing.F) {
	odd := oddEntries(1_600_000_000)
	for _, b := range odd {
		f.Add(join(b))
	}
	f.Add(tarOf(f, file("a", "x"), link("b", "a"), link("c", "b"), file("d/.wh.a", ""), file(toc, "{}")))
	f.Add(slices.Concat(tarOf(f, file("a", "x"), file("b", "y")), tarOf(f, file(toc, "{}"))))
	f.Fuzz(func(t *testing.T, layer []byte) {
		layer = fixChecksums(layer)
		var fs []pipeline.LayerFilter
		for _, spec := range []string{"exclude:pattern=a,**/ping,holes,*2", "normalize-timestamps:ts=9"} {
			fs = append(fs, newFilter(t, filter.Defaults{TempDir: t.TempDir()}, spec).(pipeline.LayerFilter))
		}
		l := layerInfo(nil, layer)
		var w bytes.Buffer
		want := tarstream.Read(bytes.NewReader(layer), 1000, chain(t, l, tarstream.NewWriter(&w), fs))
		got, _, err := edited(t, l, layer, 1000, fs)
		if (want == nil) != (err == nil) || errors.Is(err, tarstream.ErrNeedsContent) {
			t.Fatalf("editor: %v, writer: %v", err, want)
		}
		if err == nil && !bytes.Equal(got, w.Bytes()) {
			t.Fatal("they differ")
		}
	})
}
