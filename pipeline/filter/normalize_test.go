package filter_test

import (
	"archive/tar"
	"bytes"
	"io"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
)

// headers reads the headers of a tar.
func headers(t testing.TB, b []byte) []*tar.Header {
	t.Helper()
	var out []*tar.Header
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, h)
	}
}

// everyType is a tar with an entry of each type, with all times a PAX header
// can say.
func everyType(t testing.TB, mtime time.Time) []byte {
	t.Helper()
	var ms []member
	for i, kind := range []byte{tar.TypeReg, tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeDir, tar.TypeFifo} {
		name := string('a' + rune(i))
		ms = append(ms, member{Header: tar.Header{
			Typeflag: kind, Name: name, Linkname: map[bool]string{true: "a"}[kind == tar.TypeLink || kind == tar.TypeSymlink],
			ModTime: mtime, AccessTime: mtime.Add(time.Second), ChangeTime: mtime.Add(time.Minute), Format: tar.FormatPAX,
		}})
	}
	ms = append(ms, file("d/.wh.gone", ""), file("d/.wh..wh..opq", ""))
	ms[len(ms)-1].ModTime = mtime
	return tarOf(t, ms...)
}

func TestEveryTypeOfEntryGetsTheTime(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string]int64{
		"normalize-timestamps":                        0,
		"normalize-timestamps:ts=1234":                1234,
		"normalize-timestamps:timestamp=8589934591":   8589934591,
		"normalize-timestamps:ts=5,mode=clamp":        5,
		"normalize-timestamps:mode=set,ts=1700000000": 1700000000,
	} {
		t.Run(spec, func(t *testing.T) {
			t.Parallel()
			hs := headers(t, apply(t, nil, everyType(t, then.Add(250*time.Millisecond)), spec).tar)
			if len(hs) != 9 {
				t.Fatalf("%d entries are left", len(hs))
			}
			for _, h := range hs {
				if !h.ModTime.Equal(time.Unix(want, 0)) || !h.AccessTime.IsZero() || !h.ChangeTime.IsZero() || len(h.PAXRecords) > 0 {
					t.Errorf("%q has mtime %s, atime %s, ctime %s, records %v", h.Name, h.ModTime, h.AccessTime, h.ChangeTime, h.PAXRecords)
				}
			}
		})
	}
}

func TestEpochIsTheDefaultTime(t *testing.T) {
	t.Parallel()
	epoch := int64(1_500_000_000)
	layer := everyType(t, then)
	f := newFilter(t, filter.Defaults{Epoch: &epoch}, "normalize-timestamps").(pipeline.LayerFilter)
	got := applyFilters(t, nil, layer, f)
	if want := apply(t, nil, layer, "normalize-timestamps:ts=1500000000"); !bytes.Equal(got.tar, want.tar) {
		t.Error("SOURCE_DATE_EPOCH=1500000000 and ts=1500000000 differ")
	}
}

func TestLayersThatDifferOnlyInTimesBecomeEqual(t *testing.T) {
	t.Parallel()
	one := layerOfOddities(oddEntries(1_600_000_000))
	two := layerOfOddities(oddEntries(1_700_000_001))
	a, b := apply(t, nil, one, "normalize-timestamps:ts=42"), apply(t, nil, two, "normalize-timestamps:ts=42")
	if !bytes.Equal(a.tar, b.tar) {
		t.Error("layers whose entries differ only in times stay different")
	}
	a, b = apply(t, nil, one, "normalize-timestamps:ts=42,mode=clamp"), apply(t, nil, two, "normalize-timestamps:ts=42,mode=clamp")
	if !bytes.Equal(a.tar, b.tar) {
		t.Error("layers whose times are all later than the limit stay different")
	}
}

func TestPAXHeaderThatOnlySaysTimesLeavesNoTrace(t *testing.T) {
	t.Parallel()
	h := rawHeader{name: "f", kind: '0', magic: magicUSTAR, mtime: 9}
	bare := join(h.block("x"))
	for name, layer := range map[string][]byte{
		"all three":              join(pax('x', 77, "mtime=9.5", "atime=10", "ctime=11.25"), h.block("x")),
		"the time that is meant": join(pax('x', 77, "mtime=9"), h.block("x")),
		"global":                 join(pax('g', 77, "mtime=12", "atime=13"), h.block("x")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := apply(t, nil, layer, "normalize-timestamps:ts=9").tar; !bytes.Equal(got, bare) {
				t.Errorf("%d bytes are left, a bare file has %d", len(got), len(bare))
			}
		})
	}
}

func TestGlobalHeaderKeepsWhatIsNoTime(t *testing.T) {
	t.Parallel()
	f := rawHeader{name: "f", kind: '0', magic: magicUSTAR, mtime: 9}.block("x")
	layer := join(pax('g', 1, "mtime=12", "comment=deadbeef"), f)
	other := join(pax('g', 2, "mtime=13", "comment=deadbeef"), f)
	got := apply(t, nil, layer, "normalize-timestamps:ts=9").tar
	if !bytes.Contains(got, []byte("comment=deadbeef\n")) || bytes.Contains(got, []byte("mtime=")) {
		t.Errorf("global header is %q", bytes.Trim(got[512:1024], "\x00"))
	}
	if !bytes.Equal(got, apply(t, nil, other, "normalize-timestamps:ts=9").tar) {
		t.Error("global headers that differ only in times stay different")
	}
}

func TestNormalizingTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	for name, layer := range map[string][]byte{
		"every type": everyType(t, then.Add(time.Millisecond)),
		"oddities":   layerOfOddities(oddEntries(1_600_000_000)),
		"global":     join(pax('g', 7, "mtime=12", "comment=x"), rawHeader{name: "f", kind: '0', magic: magicUSTAR}.block("")),
		"empty":      join(),
	} {
		for _, spec := range []string{"normalize-timestamps:ts=42", "normalize-timestamps:ts=42,mode=clamp"} {
			t.Run(name+" "+spec, func(t *testing.T) {
				t.Parallel()
				once := apply(t, nil, layer, spec).tar
				if !bytes.Equal(once, apply(t, nil, once, spec).tar) {
					t.Error("the second time changes the layer again")
				}
			})
		}
	}
}

func TestClampLeavesEarlierTimesAsTheyAre(t *testing.T) {
	t.Parallel()
	old := member{Header: tar.Header{
		Typeflag: tar.TypeReg, Name: "old", Format: tar.FormatPAX,
		ModTime: time.Unix(100, 5e8), AccessTime: time.Unix(101, 5), ChangeTime: time.Unix(102, 0),
	}}
	layer := tarOf(t, old)
	if got := apply(t, nil, layer, "normalize-timestamps:ts=200,mode=clamp").tar; !bytes.Equal(got, layer) {
		t.Error("a layer older than the limit was changed")
	}
	late := old
	late.Name, late.ChangeTime = "late", time.Unix(1000, 0)
	hs := headers(t, apply(t, nil, tarOf(t, old, late), "normalize-timestamps:ts=200,mode=clamp").tar)
	for _, h := range hs {
		if !h.ModTime.Equal(old.ModTime) || !h.AccessTime.Equal(old.AccessTime) {
			t.Errorf("%s has mtime %s, atime %s", h.Name, h.ModTime, h.AccessTime)
		}
	}
	if !hs[0].ChangeTime.Equal(old.ChangeTime) || !hs[1].ChangeTime.IsZero() {
		t.Errorf("change times are %s and %s; the later one had to go", hs[0].ChangeTime, hs[1].ChangeTime)
	}
	edge := member{Header: tar.Header{Typeflag: tar.TypeReg, Name: "edge", Format: tar.FormatPAX, ModTime: time.Unix(200, 1)}}
	if h := headers(t, apply(t, nil, tarOf(t, edge), "normalize-timestamps:ts=200,mode=clamp").tar)[0]; !h.ModTime.Equal(time.Unix(200, 0)) {
		t.Errorf("a nanosecond late is still %s", h.ModTime)
	}
}

func TestNormalizeChangesNothingButTimes(t *testing.T) {
	t.Parallel()
	layer := layerOfOddities(oddEntries(1_600_000_000))
	was, is := headers(t, layer), headers(t, apply(t, nil, layer, "normalize-timestamps").tar)
	if len(was) != len(is) || len(was) == 0 {
		t.Fatalf("%d entries became %d", len(was), len(is))
	}
	for i := range was {
		for _, h := range []*tar.Header{was[i], is[i]} {
			h.ModTime, h.AccessTime, h.ChangeTime, h.Format = time.Time{}, time.Time{}, time.Time{}, 0
			for _, k := range []string{"mtime", "atime", "ctime"} {
				delete(h.PAXRecords, k)
			}
		}
		if diff := cmp.Diff(was[i], is[i]); diff != "" {
			t.Errorf("%s (-before +after):\n%s", was[i].Name, diff)
		}
	}
	if !slices.Equal(contentsOf(t, layer), contentsOf(t, apply(t, nil, layer, "normalize-timestamps").tar)) {
		t.Error("contents changed")
	}
}

// layerOfOddities is a layer of all odd entries in the order of their names.
func layerOfOddities(odd map[string][]byte) []byte {
	var pieces [][]byte
	for _, k := range slices.Sorted(maps.Keys(odd)) {
		pieces = append(pieces, odd[k])
	}
	return join(pieces...)
}

// contentsOf reads all files of a tar, holes filled in.
func contentsOf(t testing.TB, b []byte) []string {
	t.Helper()
	var out []string
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		if _, err := r.Next(); err == io.EOF {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(content))
	}
}
