package filter_test

import (
	"archive/tar"
	"bytes"
	"testing"
	"time"
)

const toc = "stargz.index.json"

func at(m member, seconds int64) member {
	m.ModTime = time.Unix(seconds, 0)
	return m
}

func TestTableOfContentsIsDroppedWhenItWouldLie(t *testing.T) {
	t.Parallel()
	layer := tarOf(t, at(file(".no.prefetch.landmark", "\x0f"), 0), at(file("a", "x"), 9), at(file("b", "y"), 9), at(file(toc, "{}"), 0))
	fresh := tarOf(t, at(file("a", "x"), 9), at(file("b", "y"), 9), at(file(toc, "{}"), 0))
	for name, c := range map[string]struct {
		layer []byte
		spec  string
		want  []string // nil: byte for byte
	}{
		"an entry removed":     {layer, "exclude:pattern=a", []string{".no.prefetch.landmark=\x0f", "b=y"}},
		"the last one removed": {layer, "exclude:pattern=b", []string{".no.prefetch.landmark=\x0f", "a=x"}},
		"a time changed":       {layer, "normalize-timestamps", []string{".no.prefetch.landmark=\x0f", "a=x", "b=y"}},
		"itself removed":       {layer, "exclude:pattern=*.json", []string{".no.prefetch.landmark=\x0f", "a=x", "b=y"}},
		"nothing removed":      {layer, "exclude:pattern=c", nil},
		"no time changed":      {layer, "normalize-timestamps:mode=clamp,ts=9", nil},
		"only its own time":    {fresh, "normalize-timestamps:ts=9", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := apply(t, nil, c.layer, c.spec).tar
			if c.want != nil {
				wantList(t, got, c.want...)
			} else if !bytes.Equal(got, c.layer) {
				t.Errorf("layer was changed: %q", list(t, got))
			}
		})
	}
}

func TestTableOfContentsGoesWithALinkThatChanges(t *testing.T) {
	t.Parallel()
	below := [][]byte{tarOf(t, file("low", "x"))}
	wantList(t, apply(t, below, tarOf(t, link("a", "low"), file(toc, "{}")), "exclude:pattern=low").tar, "a=x")
	wantList(t, apply(t, nil, tarOf(t, link("a", "low"), file(toc, "{}")), "exclude:pattern=low").tar)
}

func TestTableOfContentsBehindTheEndIsCutOff(t *testing.T) {
	t.Parallel()
	entries := tarOf(t, file("a", "x"), file("b", "y"))
	layer := append(bytes.Clone(entries), tarOf(t, at(file(toc, `{"version":1}`), 0))...)
	got := apply(t, nil, layer, "exclude:pattern=a").tar
	if want := tarOf(t, file("b", "y")); !bytes.Equal(got, want) {
		t.Errorf("%d bytes, not %d", len(got), len(want))
	}
	if got := apply(t, nil, layer, "exclude:pattern=c").tar; !bytes.Equal(got, layer) {
		t.Error("a layer without changes was changed")
	}
	other := append(bytes.Clone(entries), "some other trailer"...)
	if got := apply(t, nil, other, "exclude:pattern=a").tar; !bytes.HasSuffix(got, []byte("some other trailer")) {
		t.Error("a trailer that is no table of contents was cut off")
	}
}

func TestOnlyAFileAtTheTopIsATableOfContents(t *testing.T) {
	t.Parallel()
	layer := tarOf(t, file("a", "x"), file("d/"+toc, "{}"), member{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: toc, Linkname: "a"}})
	wantList(t, apply(t, nil, layer, "exclude:pattern=a").tar, "d/"+toc+"={}", toc)
}
