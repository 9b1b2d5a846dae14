package filter_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

func TestHardLinkToExcludedTargetBecomesAFile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		layer []member
		spec  string
		want  []string
	}{
		"one link":                   {[]member{file("bin/tool", "elf"), link("bin/tool2", "bin/tool")}, "bin/tool", []string{"bin/tool2=elf"}},
		"later links point to it":    {[]member{file("a", "x"), link("b", "a"), file("m", "y"), link("c", "a"), link("d", "a")}, "a", []string{"b=x", "m=y", "c -> b", "d -> b"}},
		"chain through excluded":     {[]member{file("a", "x"), link("b", "a"), link("c", "b"), link("d", "b")}, "a,b", []string{"c=x", "d -> c"}},
		"chain to one that stays":    {[]member{file("a", "x"), link("b", "a"), link("c", "b")}, "b", []string{"a=x", "c -> a"}},
		"other spellings":            {[]member{file("./a", "x"), link("./b", "/a"), link("c", "./a")}, "a", []string{"./b=x", "c -> ./b"}},
		"two targets, any order":     {[]member{file("a1", "1"), file("a2", "2"), file("a3", "3"), link("b3", "a3"), link("b1", "a1"), link("b2", "a2"), link("c1", "a1")}, "a?", []string{"b3=3", "b1=1", "b2=2", "c1 -> b1"}},
		"target that stays":          {[]member{file("a", "x"), link("b", "a"), file("c", "y")}, "c", []string{"a=x", "b -> a"}},
		"target written twice":       {[]member{file("a", "old"), link("b", "a"), file("a", "new"), link("c", "a")}, "a", []string{"b=old", "c=new"}},
		"first link written over":    {[]member{file("a", "x"), link("b", "a"), file("b", "y"), link("c", "a"), link("d", "a")}, "a", []string{"b=x", "b=y", "c=x", "d -> c"}},
		"stayed target written over": {[]member{file("a", "old"), link("b", "a"), file("a", "new"), link("c", "b")}, "b", []string{"a=old", "a=new", "c=old"}},
		"same link twice":            {[]member{file("a", "x"), link("b", "a"), link("b", "a"), link("c", "a")}, "a", []string{"b=x", "c -> b"}},
		"symbolic link as target":    {[]member{{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "etc"}}, link("b", "a")}, "a", []string{"b"}},
		"excluded link, no other":    {[]member{file("a", "x"), link("b", "a")}, "b", []string{"a=x"}},
		"empty file":                 {[]member{file("a", ""), link("b", "a")}, "a", []string{"b="}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := apply(t, nil, tarOf(t, c.layer...), "exclude:pattern="+c.spec)
			wantList(t, got.tar, c.want...)
			for _, n := range got.notes {
				if strings.Contains(n, "hard link") {
					t.Errorf("note says %q", n)
				}
			}
		})
	}
}

func TestPromotedLinkIsTheTargetsEntryAsStored(t *testing.T) {
	t.Parallel()
	hardLink := func(to string) []byte {
		return rawHeader{name: "link", link: to, kind: '1', magic: magicUSTAR, mtime: 99}.block("")
	}
	odd := oddEntries(99)
	for key, name := range map[string]string{
		"gnu sparse": "sparse", "pax sparse 1.0": "holes", "pax capability": "ping", "gnu base-256": "big", "v7": "v7", "ustar": "ustar",
	} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			layer := join(odd[key], hardLink(name))
			got := apply(t, nil, layer, "exclude:pattern="+name).tar
			was, is := headers(t, layer)[0], headers(t, got)
			if len(is) != 1 || is[0].Name != "link" {
				t.Fatalf("headers are %+v", is)
			}
			if is[0].Size != was.Size || is[0].Mode != was.Mode || is[0].Uid != was.Uid || is[0].Typeflag != was.Typeflag {
				t.Errorf("header is %+v, was %+v", is[0], was)
			}
			for k, v := range was.PAXRecords {
				if !slices.Contains([]string{"mtime", "atime", "GNU.sparse.name"}, k) && is[0].PAXRecords[k] != v {
					t.Errorf("record %s is %q, was %q", k, is[0].PAXRecords[k], v)
				}
			}
			if !slices.Equal(contentsOf(t, got), contentsOf(t, layer)[:1]) {
				t.Error("content changed")
			}
			if len(got) > len(layer)+1024 {
				t.Errorf("the entry grew: %d bytes from %d", len(got), len(layer))
			}
		})
	}
}

func TestPromotedLinkMayHaveALongName(t *testing.T) {
	t.Parallel()
	odd := oddEntries(99)
	for key, target := range map[string]string{"gnu sparse": "sparse", "pax sparse 1.0": "holes", "ustar": "ustar", "pax capability": "ping"} {
		for _, n := range []int{20, 140} { // 101 to 255 bytes, and more
			name := strings.Repeat("e/", n) + strings.Repeat("f", 90)
			layer := slices.Concat(join(odd[key])[:len(odd[key])], tarOf(t, link(name, target)))
			got := apply(t, nil, layer, "exclude:pattern="+target).tar
			if h := headers(t, got); len(h) != 1 || h[0].Name != name {
				t.Errorf("%s: headers are %+v", key, h)
			}
			if !slices.Equal(contentsOf(t, got), contentsOf(t, layer)[:1]) {
				t.Errorf("%s: content changed", key)
			}
		}
	}
}

func TestPromotedLinkHasTheTimesThatEarlierFiltersSet(t *testing.T) {
	t.Parallel()
	layer := tarOf(t, file("a", "x"), link("b", "a"))
	h := headers(t, apply(t, nil, layer, "normalize-timestamps:ts=7", "exclude:pattern=a").tar)
	if len(h) != 1 || !h[0].ModTime.Equal(time.Unix(7, 0)) {
		t.Errorf("headers are %+v", h)
	}
}

func TestHardLinkToExcludedTargetInALowerLayerBecomesAFile(t *testing.T) {
	t.Parallel()
	base := tarOf(t, dir("d"), file("d/a", "old"), file("e", "stays"))
	for name, c := range map[string]struct {
		below [][]byte
		layer []member
		spec  string
		want  []string
		notes []string
	}{
		"in the layer below":     {[][]byte{base}, []member{link("b", "d/a"), link("c", "d/a")}, "d/a", []string{"b=old", "c -> b"}, nil},
		"the topmost counts":     {[][]byte{base, tarOf(t, file("d/a", "new"))}, []member{link("b", "/d/a")}, "d/a", []string{"b=new"}, nil},
		"through a link there":   {[][]byte{base, tarOf(t, link("x", "d/a"))}, []member{link("b", "x")}, "d/a,x", []string{"b=old"}, nil},
		"target stays below":     {[][]byte{base}, []member{link("b", "e")}, "d/a", []string{"b -> e"}, nil},
		"in no layer":            {[][]byte{base}, []member{link("b", "nowhere"), link("c", "b"), file("f", "y")}, "nowhere", []string{"f=y"}, []string{"2 hard links removed: the target is excluded and no layer holds its content"}},
		"no layer below":         {nil, []member{link("b", "d/a")}, "d/a", nil, []string{"1 hard link removed: the target is excluded and no layer holds its content"}},
		"whited out":             {[][]byte{base, tarOf(t, file("d/.wh.a", ""))}, []member{link("b", "d/a")}, "d/a", nil, []string{"1 hard link removed: the target is excluded and no layer holds its content"}},
		"directory whited out":   {[][]byte{base, tarOf(t, file(".wh.d", ""))}, []member{link("b", "d/a")}, "d/a", nil, []string{"1 hard link removed: the target is excluded and no layer holds its content"}},
		"opaque directory":       {[][]byte{base, tarOf(t, file("d/.wh..wh..opq", ""))}, []member{link("b", "d/a")}, "d/a", nil, []string{"1 hard link removed: the target is excluded and no layer holds its content"}},
		"other one whited out":   {[][]byte{base, tarOf(t, file("d/.wh.b", ""))}, []member{link("b", "d/a")}, "d/a", []string{"b=old"}, nil},
		"written after whiteout": {[][]byte{base, tarOf(t, file("d/.wh..wh..opq", ""), file("d/a", "new"))}, []member{link("b", "d/a")}, "d/a", []string{"b=new"}, nil},
		"a directory":            {[][]byte{base}, []member{link("b", "d")}, "d", nil, []string{"1 hard link removed: the target is excluded and no layer holds its content"}},
		"to itself":              {[][]byte{tarOf(t, link("x", "x"))}, []member{link("b", "x")}, "x", nil, []string{"1 hard link removed: the target is excluded and no layer holds its content"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := apply(t, c.below, tarOf(t, c.layer...), "exclude:pattern="+c.spec)
			wantList(t, got.tar, c.want...)
			wantNotes(t, got, c.notes...)
		})
	}
}

func TestTwoExcludesInARowPromoteTheSameContent(t *testing.T) {
	t.Parallel()
	group := []member{file("z", "-"), link("b", "a"), link("c", "a"), link("d", "a")}
	own := tarOf(t, append([]member{file("a", "x")}, group...)...)
	wantList(t, apply(t, nil, own, "exclude:pattern=a", "exclude:pattern=b").tar, "z=-", "c=x", "d -> c")
	wantList(t, apply(t, nil, own, "exclude:pattern=a,b").tar, "z=-", "c=x", "d -> c")
	wantList(t, apply(t, nil, own, "exclude:pattern=b", "normalize-timestamps", "exclude:pattern=a").tar, "z=-", "c=x", "d -> c")
	below := [][]byte{tarOf(t, file("pad", "other"), file("a", "low"))}
	wantList(t, apply(t, below, tarOf(t, group...), "exclude:pattern=a", "exclude:pattern=b", "exclude:pattern=c").tar, "z=-", "d=low")
}

func TestManyPromotedLinksTakeFewPasses(t *testing.T) {
	t.Parallel()
	const n = 500
	var ms []member
	for i := range n {
		ms = append(ms, file(fmt.Sprintf("store/%d", i), fmt.Sprint(i)))
	}
	for i := range n { // the worst order for reading forward
		ms = append(ms, link(fmt.Sprintf("use/%d", i), fmt.Sprintf("store/%d", n-1-i)))
	}
	layer := tarOf(t, ms...)
	l := layerInfo(nil, layer)
	plain, passes := l.Plain, 0
	l.Plain = func(ctx context.Context) (io.ReadCloser, error) {
		passes++
		return plain(ctx)
	}
	f := newFilter(t, filter.Defaults{TempDir: t.TempDir()}, "exclude:pattern=store/**").(pipeline.LayerFilter)
	var out bytes.Buffer
	if err := tarstream.Read(bytes.NewReader(layer), 0, chain(t, l, tarstream.NewWriter(&out), []pipeline.LayerFilter{f})); err != nil {
		t.Fatal(err)
	}
	got := list(t, out.Bytes())
	if len(got) != n || got[0] != "use/0=499" || got[n-1] != "use/499=0" {
		t.Errorf("%d entries, from %s to %s", len(got), got[0], got[len(got)-1])
	}
	if passes > 2 {
		t.Errorf("%d passes over the layer", passes)
	}
}

func TestSecondPassThatDoesNotVerifyFailsTheLayer(t *testing.T) {
	t.Parallel()
	layer := tarOf(t, file("a", "x"), link("b", "a"), file("c", "y"))
	wrong := errors.New("wrong digest")
	for name, tamper := range map[string]func([]byte) io.Reader{
		"at the end": func(b []byte) io.Reader { return io.MultiReader(bytes.NewReader(b), failing{wrong}) },
		"cut short":  func(b []byte) io.Reader { return io.MultiReader(bytes.NewReader(b[:700]), failing{wrong}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := layerInfo(nil, layer)
			l.Plain = func(context.Context) (io.ReadCloser, error) { return io.NopCloser(tamper(layer)), nil }
			f := newFilter(t, filter.Defaults{TempDir: t.TempDir()}, "exclude:pattern=a").(pipeline.LayerFilter)
			err := tarstream.Read(bytes.NewReader(layer), 0, chain(t, l, tarstream.NewWriter(io.Discard), []pipeline.LayerFilter{f}))
			if !errors.Is(err, wrong) || !strings.Contains(err.Error(), `"b"`) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestTempDirThatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	layer := tarOf(t, file("a", "x"), link("b", "a"))
	f := newFilter(t, filter.Defaults{TempDir: "testdata/nowhere"}, "exclude:pattern=a").(pipeline.LayerFilter)
	err := tarstream.Read(bytes.NewReader(layer), 0, chain(t, layerInfo(nil, layer), tarstream.NewWriter(io.Discard), []pipeline.LayerFilter{f}))
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "testdata/nowhere") || !strings.Contains(err.Error(), "--temp-dir") {
		t.Errorf("error is %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
