package layerpath_test

import (
	"testing"

	"github.com/occystrap/occystrap/pipeline/internal/layerpath"
)

func TestNamesLeadToTheirPlaces(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"etc/x": "etc/x", "./etc/x": "etc/x", "/etc/x": "etc/x", "etc//x/": "etc/x", "usr/../etc/x": "etc/x",
		"../../etc/x": "etc/x", ".": "", "/": "", "": "", "..": "", ".x": ".x", "..x/y": "..x/y",
	} {
		if got := layerpath.Of(name); got != want {
			t.Errorf("%q leads to %q, expected %q", name, got, want)
		}
	}
}

func TestWhiteoutsNameWhatTheyHide(t *testing.T) {
	t.Parallel()
	for at, want := range map[string]struct {
		hidden string
		what   layerpath.Hiding
	}{
		"etc/.wh.x":            {"etc/x", layerpath.HidesPlace},
		".wh.x":                {"x", layerpath.HidesPlace},
		"etc/.wh..wh..opq":     {"etc", layerpath.HidesContent},
		".wh..wh..opq":         {"", layerpath.HidesContent},
		"etc/.wh.":             {"", layerpath.Void},
		".wh..wh.plnk":         {"", layerpath.Void},
		"etc/x.wh.y":           {"", layerpath.HidesNothing},
		".wh.dir/x":            {"", layerpath.HidesNothing},
		"etc/.wh..hidden":      {"etc/.hidden", layerpath.HidesPlace},
		"etc/.wh.dir/.wh.file": {"etc/.wh.dir/file", layerpath.HidesPlace},
	} {
		if hidden, what := layerpath.Whiteout(at); hidden != want.hidden || what != want.what {
			t.Errorf("%s hides %q (%d), expected %q (%d)", at, hidden, what, want.hidden, want.what)
		}
	}
}
