package filter_test

import (
	"bytes"
	"testing"
)

func TestFiltersGiveTheSameInEitherOrder(t *testing.T) {
	t.Parallel()
	layer := join(
		layerOfOddities(oddEntries(1_600_000_000))[:len(layerOfOddities(oddEntries(1_600_000_000)))-1024],
		rawHeader{name: "hard", link: "ping", kind: '1', magic: magicUSTAR, mtime: 5}.block(""),
		rawHeader{name: "hard2", link: "ping", kind: '1', magic: magicUSTAR, mtime: 6}.block(""),
		rawHeader{name: toc, kind: '0', magic: magicUSTAR}.block("{}"),
	)
	for _, mode := range []string{"set", "clamp"} {
		times, names := "normalize-timestamps:ts=3,mode="+mode, "exclude:pattern=ping,v7*,d/**"
		one, two := apply(t, nil, layer, times, names), apply(t, nil, layer, names, times)
		if !bytes.Equal(one.tar, two.tar) {
			t.Errorf("%s: the orders differ", mode)
		}
		if len(one.notes) != 1 || one.notes[0] != two.notes[0] {
			t.Errorf("%s: notes are %q and %q", mode, one.notes, two.notes)
		}
		wantEmpty := apply(t, nil, one.tar, names, times)
		if !bytes.Equal(wantEmpty.tar, one.tar) {
			t.Errorf("%s: the second time changes the layer again", mode)
		}
	}
}
