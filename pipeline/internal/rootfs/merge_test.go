//go:build linux

package rootfs_test

import (
	"slices"
	"testing"
)

// What layers make of one another, by the image specification.
func TestLayersMerge(t *testing.T) {
	t.Parallel()
	cache := layer{directory("var"), directory("var/cache"), file("var/cache/x", "1"), file("var/cached", "1"), directory("var/cache2"), file("var/cache2/y", "1")}
	for name, c := range map[string]struct {
		layers []layer
		want   []string
	}{
		"file whiteout":      {[]layer{cache, {file("var/cache/.wh.x", "")}}, []string{"var/", "var/cache/", "var/cache2/", "var/cache2/y=1", "var/cached=1"}},
		"directory whiteout": {[]layer{cache, {file("var/.wh.cache", "")}}, []string{"var/", "var/cache2/", "var/cache2/y=1", "var/cached=1"}},
		"opaque": {
			[]layer{cache, {directory("var/cache"), file("var/cache/new", "2"), file("var/cache/.wh..wh..opq", "")}},
			[]string{"var/", "var/cache/", "var/cache/new=2", "var/cache2/", "var/cache2/y=1", "var/cached=1"},
		},
		"whiteout after what the layer itself brings": {[]layer{{file("a/old", "1")}, {directory("a"), file("a/new", "2"), file(".wh.a", "")}}, []string{"a/", "a/new=2"}},
		"whiteout and file of one name":               {[]layer{{file("a", "1")}, {file("a", "2"), file(".wh.a", "")}}, []string{"a=2"}},
		"whiteout of nothing":                         {[]layer{{file(".wh.none", ""), file("none/.wh.x", ""), file("none/.wh..wh..opq", "")}}, nil},
		"whiteout in a file":                          {[]layer{{file("f", "1")}, {file("f/.wh.x", "")}}, []string{"f=1"}},
		"spelled otherwise":                           {[]layer{{file("./etc/a", "1"), file("/etc/b", "1"), file("usr/../etc/c", "1")}, {file("etc/a", "2"), file("./etc/.wh.b", "")}}, []string{"etc/", "etc/a=2", "etc/c=1"}},
		"directory becomes a link":                    {[]layer{{file("d/x", "1"), file("e/y", "1")}, {symlink("d", "e")}, {file("d/z", "2")}}, []string{"d->e", "e/", "e/y=1", "e/z=2"}},
		"link becomes a directory":                    {[]layer{{file("e/y", "1"), symlink("d", "e")}, {directory("d"), file("d/z", "2")}}, []string{"d/", "d/z=2", "e/", "e/y=1"}},
		"file becomes a directory":                    {[]layer{{file("d", "1")}, {file("d/z", "2")}}, []string{"d/", "d/z=2"}},
		"directory becomes a file":                    {[]layer{{file("d/a/b/c", "1")}, {file("d", "2")}}, []string{"d=2"}},
		"through an absolute link":                    {[]layer{{directory("usr/lib"), symlink("lib", "/usr/lib")}, {file("lib/x", "2")}}, []string{"lib->/usr/lib", "usr/", "usr/lib/", "usr/lib/x=2"}},
		"whiteout through a link":                     {[]layer{{file("usr/lib/x", "1"), symlink("lib", "usr/lib")}, {file("lib/.wh.x", "")}}, []string{"lib->usr/lib", "usr/", "usr/lib/"}},
		"link above the top":                          {[]layer{{directory("a/b"), symlink("a/b/up", "../../../../c")}, {file("a/b/up/x", "2")}}, []string{"a/", "a/b/", "a/b/up->../../../../c", "c/", "c/x=2"}},
		"hard link keeps what is replaced":            {[]layer{{file("a", "1"), hardlink("b", "a")}, {file("a", "2")}}, []string{"a=2", "b=1"}},
		"hard link to a lower layer":                  {[]layer{{file("a", "1")}, {hardlink("b", "a")}}, []string{"a=1", "b=1"}},
		"hard link to itself":                         {[]layer{{file("a", "1")}, {hardlink("./a", "a")}}, []string{"a=1"}},
		"hard link to a link":                         {[]layer{{symlink("l", "nowhere"), hardlink("m", "l")}}, []string{"l->nowhere", "m->nowhere"}},
		"aufs's own files":                            {[]layer{{directory(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", "x"), file(".wh..wh.aufs", ""), file("a", "1")}}, []string{"a=1"}},
		"removed, then made again":                    {[]layer{{file("d/a", "1")}, {file(".wh.d", "")}, {file("d/b", "2")}}, []string{"d/", "d/b=2"}},
		"names beside a prefix":                       {[]layer{{file("whiteout", "1"), file("x.wh.y", "1")}}, []string{"whiteout=1", "x.wh.y=1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, _, err := unpack(t, c.layers...)
			if err != nil {
				t.Fatal(err)
			}
			if got := content(t, dir); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}
