package filter_test

import "testing"

// spellings are names that extractors put at the path "secret".
var spellings = []string{"secret", "./secret", "/secret", "//secret", ".//secret", "././secret", "x/../secret", "secret/.", "../secret"}

func TestNameIsExcludedHoweverItIsSpelled(t *testing.T) {
	t.Parallel()
	for _, name := range spellings {
		got := apply(t, nil, tarOf(t, file(name, "s"), link("b", name), link("c", "secret")), "exclude:pattern=secret")
		wantList(t, got.tar, "b=s", "c -> b")
		wantNotes(t, got, "1 entry excluded")
		wantList(t, apply(t, nil, tarOf(t, file(name, "s"), file("x/secret", "y")), "exclude:pattern=[s]ecret").tar, "x/secret=y")
	}
}

func TestWhiteoutFollowsWhatItHidesHoweverItIsSpelled(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"/.wh.secret", ".//.wh.secret", "x/../.wh.secret", ".wh.secret/."} {
		top := tarOf(t, file(name, ""))
		wantList(t, apply(t, nil, top, "exclude:pattern=secret").tar)
		wantList(t, apply(t, [][]byte{tarOf(t, file("secret/kept", ""))}, top, "exclude:pattern=secret").tar, name+"=")
	}
	wantList(t, apply(t, nil, tarOf(t, file("/a//.wh..wh..opq", "")), "exclude:pattern=a,a/**").tar)
}

func TestWhiteoutStaysForContentsHoweverTheyAreSpelled(t *testing.T) {
	t.Parallel()
	top := tarOf(t, file(".wh.secret", ""))
	for _, name := range spellings {
		wantList(t, apply(t, [][]byte{tarOf(t, file(name+"/kept", ""))}, top, "exclude:pattern=secret").tar, ".wh.secret=")
		wantList(t, apply(t, [][]byte{tarOf(t, file(name+"/kept", ""))}, top, "exclude:pattern=secret,secret/kept").tar)
	}
}
