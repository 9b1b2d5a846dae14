package filter_test

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestNamesAreMatchedWholeWithoutDotSlashAndTrailingSlash(t *testing.T) {
	t.Parallel()
	layer := tarOf(t, dir("./etc"), file("./etc/motd", "1"), dir("etc/x"), file("etc/x/motd", "2"), file("opt/etc/motd", "3"))
	for pattern, want := range map[string][]string{
		"etc/motd":         {"./etc", "etc/x", "etc/x/motd=2", "opt/etc/motd=3"},
		"./etc/motd":       {"./etc", "etc/x", "etc/x/motd=2", "opt/etc/motd=3"},
		"etc/*":            {"./etc", "opt/etc/motd=3"},
		"etc/x":            {"./etc", "./etc/motd=1", "etc/x/motd=2", "opt/etc/motd=3"},
		"motd":             {"./etc", "./etc/motd=1", "etc/x", "etc/x/motd=2", "opt/etc/motd=3"},
		"ETC/motd":         {"./etc", "./etc/motd=1", "etc/x", "etc/x/motd=2", "opt/etc/motd=3"},
		"**/motd":          {"./etc", "etc/x"},
		"etc,etc/x,opt/**": {"./etc/motd=1", "etc/x/motd=2"},
		"*":                {},
	} {
		t.Run(pattern, func(t *testing.T) {
			t.Parallel()
			wantList(t, apply(t, nil, layer, "exclude:pattern="+pattern).tar, want...)
		})
	}
}

func TestCommaSeparatesPatternsAsDocumented(t *testing.T) {
	t.Parallel()
	layer := tarOf(t, dir(".git"), file(".git/config", "x"), file("a/.git/HEAD", "x"), file("a/__pycache__/m.cpython", "x"), file("m.pyc", "x"), file("m.py", "y"))
	got := apply(t, nil, layer, "exclude:pattern=**/.git/**,**/__pycache__/**,**/*.pyc")
	wantList(t, got.tar, ".git", "m.py=y")
	wantNotes(t, got, "4 entries excluded")
}

func TestTopLevelDirectoryMatchesAPatternForAnyDepth(t *testing.T) {
	t.Parallel()
	layer := tarOf(t, dir(".git"), file(".git/config", "x"), dir("a/.git"), file("a/.git/config", "x"), file("a.git", "y"))
	wantList(t, apply(t, nil, layer, "exclude:pattern=**/.git").tar, ".git/config=x", "a/.git/config=x", "a.git=y")
	wantList(t, apply(t, nil, layer, "exclude:pattern=**/.git/**").tar, ".git", "a/.git", "a.git=y")
	wantList(t, apply(t, nil, layer, "exclude:pattern=**/.git,**/.git/**").tar, "a.git=y")
}

func TestEmptiedDirectoryStays(t *testing.T) {
	t.Parallel()
	layer := tarOf(t, dir("cache"), file("cache/one", "x"), file("cache/two", "x"), dir("other"))
	got := apply(t, nil, layer, "exclude:pattern=cache/**")
	wantList(t, got.tar, "cache", "other")
	wantNotes(t, got, "2 entries excluded")
}

func TestExcludedCountIsTold(t *testing.T) {
	t.Parallel()
	layer := tarOf(t, file("a", "x"), file("b", "x"))
	wantNotes(t, apply(t, nil, layer, "exclude:pattern=a"), "1 entry excluded")
	wantNotes(t, apply(t, nil, layer, "exclude:pattern=*"), "2 entries excluded")
	wantNotes(t, apply(t, nil, layer, "exclude:pattern=c"))
}

func TestLayerThatNothingMatchesIsByteForByte(t *testing.T) {
	t.Parallel()
	for name, layer := range map[string][]byte{
		"oddities":   layerOfOddities(oddEntries(1_600_000_000)),
		"every type": everyType(t, then),
		"empty":      join(),
		"no end":     rawHeader{name: "f", kind: '0', magic: magicUSTAR}.block("cut"),
		"global":     join(pax('g', 3, "comment=x"), rawHeader{name: "f", kind: '0', magic: magicUSTAR}.block("")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := apply(t, nil, layer, "exclude:pattern=nowhere/**,*.nothing,?"+strings.Repeat("?", 2000)); !bytes.Equal(got.tar, layer) || got.notes != nil {
				t.Errorf("%d bytes became %d, notes %q", len(layer), len(got.tar), got.notes)
			}
		})
	}
}

func TestEntriesBesideAnExcludedOneAreByteForByte(t *testing.T) {
	t.Parallel()
	odd := oddEntries(1_600_000_000)
	keys := slices.Sorted(maps.Keys(odd))
	secret := rawHeader{name: "secret", kind: '0', magic: magicUSTAR, mtime: 5}.block(strings.Repeat("s", 1000))
	for i := range keys {
		var with, without [][]byte
		for j, k := range keys {
			if i == j {
				with = append(with, secret)
			}
			with, without = append(with, odd[k]), append(without, odd[k])
		}
		if got := apply(t, nil, join(with...), "exclude:pattern=secret"); !bytes.Equal(got.tar, join(without...)) {
			t.Errorf("an entry was touched where %q follows the excluded one", keys[i])
		}
	}
}

func TestExcludedLastEntryIsGone(t *testing.T) {
	t.Parallel()
	layer := tarOf(t, file("a", "x"), file("b", "x"))
	wantList(t, apply(t, nil, layer, "exclude:pattern=b").tar, "a=x")
}

func TestGlobalHeaderHasNoNameToMatch(t *testing.T) {
	t.Parallel()
	global := pax('g', 3, "comment=x")
	f := rawHeader{name: "f", kind: '0', magic: magicUSTAR}.block("")
	if got := apply(t, nil, join(global, f), "exclude:pattern=*"); !bytes.Equal(got.tar, join(global)) {
		t.Errorf("%d bytes are left", len(got.tar))
	}
}

func TestLongNamesAreMatchedWhole(t *testing.T) {
	t.Parallel()
	layer := layerOfOddities(oddEntries(1_600_000_000))
	was := len(list(t, layer))
	for pattern, gone := range map[string]int{
		"d/d/*/name": 1, "d/d/*/name2": 1, "d/d/**": 2, "ppp*p/leaf": 1, "leaf": 0, "holes": 1, "GNUSparse*": 0, "v7dir": 1,
	} {
		if got := was - len(list(t, apply(t, nil, layer, "exclude:pattern="+pattern).tar)); got != gone {
			t.Errorf("%q removes %d entries, not %d", pattern, got, gone)
		}
	}
}
