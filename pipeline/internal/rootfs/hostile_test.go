//go:build linux

package rootfs_test

import (
	"archive/tar"
	"fmt"
	"maps"
	"strings"
	"testing"
)

// Nothing outside the tree is touched, whether a layer is refused or not;
// unpack looks.
func TestHostileLayersStayInside(t *testing.T) {
	t.Parallel()
	attacks := hostileNames()
	maps.Copy(attacks, hostileEntries())
	for name, c := range attacks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := unpack(t, c.layers...)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %v, want %q", err, c.err)
			}
		})
	}
}

type attack struct {
	layers []layer
	err    string // part of the error; "" for none
}

// hostileNames want to reach what {around} stands for, the sentinels, by names
// and links.
func hostileNames() map[string]attack {
	return map[string]attack{
		"dot dot":                  {[]layer{{file("../secret", "evil"), file("../../../../../../etc/passwd", "evil")}}, ""},
		"absolute":                 {[]layer{{file("/etc/passwd", "evil")}}, ""},
		"absolute to the sentinel": {[]layer{{file("{around}/secret", "evil")}}, ""},
		"through a link":           {[]layer{{symlink("x", "../.."), file("x/secret", "evil")}}, ""},
		"through a link below":     {[]layer{{symlink("x", "{around}")}, {file("x/secret", "evil")}}, ""},
		"through a link to a link": {[]layer{{symlink("x", ".."), symlink("y", "x/.."), file("y/secret", "evil")}}, ""},
		"over a link":              {[]layer{{symlink("x", "{around}/secret")}, {file("x", "evil")}}, ""},
		"directory over a link":    {[]layer{{symlink("x", "{around}")}, {mode(directory("x"), 0o700), file("x/secret", "evil")}}, ""},
		"directory becomes a link": {[]layer{{directory("x"), file("x/secret", "ok"), symlink("x", "../.."), file("x/secret", "evil")}}, ""},
		"device over a link":       {[]layer{{symlink("x", "{around}/secret")}, {&tar.Header{Name: "x", Typeflag: tar.TypeFifo, Mode: 0o777}}}, ""},
		"hard link out":            {[]layer{{hardlink("x", "../secret"), file("x", "evil")}}, "no such file"},
		"hard link out, absolute":  {[]layer{{hardlink("x", "{around}/secret")}}, "no such file"},
		"hard link through a link": {[]layer{{symlink("up", "../.."), hardlink("x", "up/secret")}}, "no such file"},
		"hard link to a link out":  {[]layer{{symlink("l", "{around}/secret"), hardlink("x", "l"), file("x", "evil")}}, ""},
		"hard link to the top":     {[]layer{{hardlink("x", "/")}}, "hard link to the top"},
		"hard link to a directory": {[]layer{{directory("d"), hardlink("x", "d")}}, "not permitted"},
	}
}

// hostileEntries abuse whiteouts, long names and long chains of links.
func hostileEntries() map[string]attack {
	chain := layer{}
	for i := range 300 {
		chain = append(chain, symlink(fmt.Sprint("l", i), fmt.Sprint("l", i+1)))
	}
	chain = append(chain, symlink("l300", "/etc"), file("l0/passwd", "evil"))
	deep := strings.Repeat("d/", 600)
	return map[string]attack{
		"whiteout out":                 {[]layer{{file("../.wh.secret", ""), file("../../etc/.wh.passwd", "")}}, ""},
		"whiteout of dot dot":          {[]layer{{file("a/.wh...", "")}}, "names nothing"},
		"whiteout of dot":              {[]layer{{file("a/.wh..", "")}}, "names nothing"},
		"whiteout of no name":          {[]layer{{file(".wh.", "")}}, "names nothing"},
		"whiteout through a link":      {[]layer{{symlink("x", "../..")}, {file("x/.wh.secret", ""), file("x/.wh.etc", "")}}, ""},
		"opaque through a link":        {[]layer{{symlink("x", "..")}, {file("x/.wh..wh..opq", "")}}, ""},
		"opaque top":                   {[]layer{{file("a", "1")}, {file(".wh..wh..opq", "")}}, ""},
		"opaque above the top":         {[]layer{{file("../.wh..wh..opq", "")}}, ""},
		"300 links in a row":           {[]layer{chain}, "symbolic links"},
		"links in a circle":            {[]layer{{symlink("a", "b"), symlink("b", "a"), file("a/x", "evil")}}, "symbolic links"},
		"the top replaced":             {[]layer{{symlink("./", "{around}")}}, "the directory itself"},
		"the top by dot dot":           {[]layer{{symlink("a/../..", "{around}"), file("secret", "evil")}}, "the directory itself"},
		"a name of 5000 bytes":         {[]layer{{file(strings.Repeat("n", 5000), "x")}}, "too long"},
		"a path of 5000 bytes":         {[]layer{{file(strings.Repeat("name/", 1000)+"f", "x")}}, ""},
		"600 deep":                     {[]layer{{file(deep+"f", "x")}, {file(".wh.d", "")}}, ""},
		"a link of 5000 bytes":         {[]layer{{symlink("x", strings.Repeat("n/", 2500)), file("x/f", "x")}}, "too long"},
		"a component that is a dot":    {[]layer{{file("a/./././b", "x"), file("././../..", "x")}}, "the directory itself"},
		"mode and owner through links": {[]layer{{symlink("x", "{around}/secret")}, {mode(owned(symlink("x", "{around}/secret"), 0, 0), 0o777)}}, ""},
		"too many entries":             {[]layer{manyFiles(10001)}, "--max-entries"},
		"proc":                         {[]layer{{symlink("x", "/proc/self/root"), file("x/secret", "evil"), symlink("y", "/proc/self/cwd/../"), file("y/evil", "x")}}, ""},
	}
}

func manyFiles(n int) (l layer) {
	for i := range n {
		l = append(l, directory(fmt.Sprint(i)))
	}
	return l
}
