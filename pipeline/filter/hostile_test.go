package filter_test

import (
	"bytes"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// FuzzHostileLayer sends any bytes through both filters: an error is fine, a
// panic is not, and what comes out is a tar with nothing left to change.
func FuzzHostileLayer(f *testing.F) {
	odd := oddEntries(1_600_000_000)
	for _, k := range slices.Sorted(maps.Keys(odd)) {
		f.Add(join(odd[k]))
	}
	f.Add(tarOf(f, file("a", "x"), link("b", "a"), link("c", "b"), file("d/.wh.a", ""), file(toc, "{}")))
	f.Add(tarOf(f, link("b", "../../a"), link("a", "a"), link("c", "/")))
	f.Add(everyType(f, then))
	f.Fuzz(func(t *testing.T, layer []byte) {
		layer = fixChecksums(layer)
		var fs []pipeline.LayerFilter
		for _, spec := range []string{"exclude:pattern=a,**/ping,holes,*2", "normalize-timestamps:ts=9"} {
			fs = append(fs, newFilter(t, filter.Defaults{TempDir: t.TempDir()}, spec).(pipeline.LayerFilter))
		}
		run := func(layer []byte) ([]byte, error) {
			var out bytes.Buffer
			err := tarstream.Read(bytes.NewReader(layer), 1000, chain(t, layerInfo(nil, layer), tarstream.NewWriter(&out), fs))
			return out.Bytes(), err
		}
		once, err := run(layer)
		if err != nil {
			return
		}
		twice, err := run(once)
		if err != nil {
			t.Fatalf("the result is no tar: %v", err)
		}
		if !bytes.Equal(once, twice) {
			t.Error("the second time changes the layer again")
		}
	})
}

// fixChecksums makes header blocks valid again, so that a fuzzer gets past
// them.
func fixChecksums(b []byte) []byte {
	b = bytes.Clone(b)
	for i := 0; i+512 <= len(b); i += 512 {
		if bytes.HasPrefix(b[i+257:], []byte("ustar")) {
			setChecksum(b[i : i+512])
		}
	}
	return b
}

func TestOneFilterWorksOnManyLayersAtOnce(t *testing.T) {
	t.Parallel()
	below := [][]byte{tarOf(t, file("x/kept", "k"), file("low", "content"))}
	layer := tarOf(t, file(".wh.x", ""), link("b", "low"), file("last", ""))
	f := newFilter(t, filter.Defaults{TempDir: t.TempDir()}, "exclude:pattern=x,low").(pipeline.LayerFilter)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			wantList(t, applyFilters(t, below, layer, f).tar, ".wh.x=", "b=content", "last=")
		})
	}
	wg.Wait()
}

func BenchmarkLayer(b *testing.B) {
	var ms []member
	for _, d := range []string{"usr/lib", "usr/share/doc", "opt/app/node_modules"} {
		for i := range 5000 {
			ms = append(ms, file(d+"/package/with/a/name/"+string(rune('a'+i%26))+"/module.py", "some content of a small file\n"))
		}
	}
	layer := tarOf(b, ms...)
	for name, specs := range map[string][]string{
		"normalize":            {"normalize-timestamps"},
		"normalize, no change": {"normalize-timestamps:ts=1600000000"},
		"exclude, no match":    {"exclude:pattern=**/.git/**,**/*.pyc,var/cache/**"},
		"exclude":              {"exclude:pattern=opt/**"},
	} {
		b.Run(name, func(b *testing.B) {
			var fs []pipeline.LayerFilter
			for _, s := range specs {
				fs = append(fs, newFilter(b, filter.Defaults{}, s).(pipeline.LayerFilter))
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(layer)))
			for b.Loop() {
				h := chain(b, layerInfo(nil, layer), tarstream.NewWriter(discard{}), fs)
				if err := tarstream.Read(bytes.NewReader(layer), 0, h); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
