package filter_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// blocks is a tar that is made while it is read, so that a test can tell what
// a filter holds of it.
type blocks struct {
	left, n int
	make    func(i int) []byte
	rest    []byte
}

func (b *blocks) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		if b.n == b.left {
			return 0, io.EOF
		}
		b.rest = b.make(b.n)
		b.n++
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Not parallel, as all tests in this file: the heap is that of the process.
func TestExcludedEntryIsRememberedInFewBytes(t *testing.T) {
	long := strings.Repeat("n", 60<<10)
	longName := func(kind byte, name string) []byte {
		return rawHeader{name: "././@LongLink", kind: kind, magic: magicGNU}.block(name + "\x00")
	}
	for name, c := range map[string]struct {
		entries int
		each    int64 // bytes
		make    func(i int) []byte
	}{
		"files": {200_000, 60, func(i int) []byte {
			return rawHeader{name: fmt.Sprintf("usr/lib/python3/dist-packages/package/module%d.pyc", i), kind: '0', magic: magicUSTAR}.block("")
		}},
		"links to one file": {200_000, 60, func(i int) []byte {
			return rawHeader{name: fmt.Sprintf("usr/lib/python3/dist-packages/package/module%d.pyc", i), link: "usr/lib/python3/dist-packages/module.py", kind: '1', magic: magicUSTAR}.block("")
		}},
		"long names": {100, 4 << 10, func(i int) []byte {
			return append(longName('L', fmt.Sprint(i, long, ".pyc")), rawHeader{name: "f", kind: '0', magic: magicGNU}.block("")...)
		}},
		"links to long names": {100, 4 << 10, func(i int) []byte {
			return append(longName('K', fmt.Sprint(i, long)), rawHeader{name: fmt.Sprintf("%d.pyc", i), kind: '1', magic: magicGNU}.block("")...)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFilter(t, filter.Defaults{TempDir: t.TempDir()}, "exclude:pattern=*.pyc").(pipeline.LayerFilter)
			h := chain(t, layerInfo(nil, nil), tarstream.NewWriter(io.Discard), []pipeline.LayerFilter{f})
			before := heap()
			if err := tarstream.Read(&blocks{left: c.entries, make: c.make}, 0, h); err != nil {
				t.Fatal(err)
			}
			held := heap() - before
			runtime.KeepAlive(h)
			if each := held / int64(c.entries); each > c.each {
				t.Errorf("each entry costs %d bytes, more than %d", each, c.each)
			}
		})
	}
}

func TestLookingForALinksContentRemembersExcludedEntriesInFewBytes(t *testing.T) {
	const entries, most = 200_000, 200
	layer := func() io.Reader {
		return &blocks{left: entries + 1, make: func(i int) []byte {
			if i == entries {
				return rawHeader{name: "link", link: "low.pyc", kind: '1', magic: magicUSTAR}.block("")
			}
			return rawHeader{name: fmt.Sprintf("%d.pyc", i), kind: '0', magic: magicUSTAR}.block("")
		}}
	}
	l := layerInfo([][]byte{tarOf(t, file("low.pyc", "x"))}, nil)
	l.Plain = func(context.Context) (io.ReadCloser, error) { return io.NopCloser(layer()), nil }
	below, held := l.PlainOf, int64(0)
	before := heap()
	l.PlainOf = func(ctx context.Context, p pipeline.Layer) (io.ReadCloser, error) {
		held = max(held, heap()-before)
		return below(ctx, p)
	}
	f := newFilter(t, filter.Defaults{TempDir: t.TempDir()}, "exclude:pattern=*.pyc").(pipeline.LayerFilter)
	if err := tarstream.Read(layer(), 0, chain(t, l, tarstream.NewWriter(io.Discard), []pipeline.LayerFilter{f})); err != nil {
		t.Fatal(err)
	}
	if each := held / entries; held == 0 || each > most {
		t.Errorf("each entry costs %d bytes, more than %d", each, most)
	}
}

// Half of the places are replaced, so that the new layer consists of as many
// stretches as it can.
func TestMergedEntryIsRememberedInFewBytes(t *testing.T) {
	const entries, most = 200_000, 130
	layer := func(every int) pipeline.Layer {
		return pipeline.Layer{
			Blob: ocispec.Descriptor{Digest: digest.FromString(fmt.Sprint(every))},
			Open: func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(&blocks{left: entries, make: func(i int) []byte {
					return rawHeader{name: fmt.Sprintf("usr/lib/python3/dist-packages/package%d/module%d.pyc", i%100, i*every), kind: '0', magic: magicUSTAR}.block("")
				}}), nil
			},
		}
	}
	image := pipeline.Reshapable{Manifest: pipeline.Manifest{Desc: ocispec.Descriptor{Digest: digest.FromString("image")}}, Layers: []pipeline.Layer{layer(1), layer(2)}}
	var before, held int64
	o := pipeline.Options{Query: pipeline.Query{Events: func(e pipeline.Event) {
		if e.Kind == pipeline.EventDetail {
			held = heap() - before
		}
	}}}
	f := newFilter(t, filter.Defaults{TempDir: t.TempDir()}, "flatten").(pipeline.Reshaper)
	before = heap()
	shapes, done, err := f.Reshape(t.Context(), []pipeline.Reshapable{image}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = done() })
	if each := held / (2 * entries); held == 0 || each > most || shapes[0].Layer.Blob.Size < entries*512 {
		t.Errorf("each entry costs %d bytes, more than %d", each, most)
	}
}
