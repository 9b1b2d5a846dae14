//go:build integration && linux

package integration

import (
	"maps"
	"path/filepath"
	"testing"
)

// A place is where the matrix reads images from or writes them to.
type place struct {
	// uri is a new name there; for a source, one with the image in it.
	uri func(t testing.TB) string
	// look is what we say ourselves of what was written to uri; nil: nothing.
	look func(t testing.TB, uri string)
	// judge lets other programs look at what was written to uri.
	judge func(t testing.TB, uri string)
	// chain: cells of the same chain run one after the other, because most filters
	// leave the fixture as it is, so all of them have one image there, by many
	// names, and daemons lose names and layers when others of the image come and
	// go. "": they are in nobody's way.
	chain string
}

// environment is one with the PATH that Docker adds where an image has none, and
// ctr only where it has no environment at all.
const environment = "env=PATH=/bin:/usr/bin,env=OCCYSTRAP=1"

// filterCases are the filters, each with values that every image passes.
func filterCases(t testing.TB) map[string][]string {
	return map[string][]string{
		"none":                 nil,
		"normalize-timestamps": {"normalize-timestamps:ts=" + changedTime},
		"exclude":              {"exclude:pattern=cache/*.tmp"},
		"search":               {"search:pattern=no-such-file"},
		"inspect":              {"inspect:file=" + filepath.Join(t.TempDir(), "inspect.jsonl")},
		"deny":                 {"deny:pattern=no-such-file,secrets=true"},
		"config":               {"config:" + environment + ",label=a=b,workdir=/opt"},
		"platforms":            {"platforms:only=linux/amd64"},
		"attestations":         {"attestations:mode=none"},
		"recompress":           {"recompress:gzip,level=9"},
		"base":                 {"normalize-timestamps:base=tar://" + busyboxArchive + ",ts=" + changedTime},
		"flatten":              {"flatten"},
		"flatten above base":   {"exclude:pattern=cache/*.tmp", "flatten:base=tar://" + busyboxArchive},
		"all": {
			"search:pattern=no-such-file", "exclude:pattern=cache/*.tmp", "normalize-timestamps:ts=" + changedTime,
			"config:" + environment, "deny:secrets=true",
		},
	}
}

// sources hold the fixture, put there without us where another program can.
func sources() map[string]place {
	from := map[string]place{
		"registry":   {uri: func(t testing.TB) string { return registryURI(push(t, layered(t))) }},
		"tar":        {uri: func(t testing.TB) string { return "tar://" + layered(t).archive(t, "fixture.test/x:1") }},
		"containerd": {uri: imported},
		"dir":        {uri: func(t testing.TB) string { return directory(t, "") }},
		"layout": {uri: func(t testing.TB) string {
			dir := t.TempDir()
			skopeo(t, "copy", "oci-archive:"+layered(t).archive(t, "fixture.test/x:1"), "oci:"+dir+":1")
			return "dir://" + dir
		}},
	}
	for _, e := range engines {
		from[e.name] = place{uri: func(t testing.TB) string { return e.uri(t, e.build(t)) }}
	}
	return from
}

// directory is one that we wrote the fixture to.
func directory(t testing.TB, options string) string {
	t.Helper()
	dir := t.TempDir()
	occystrap(t, "process", "--quiet", "tar://"+layered(t).archive(t, "fixture.test/x:1"), "dir://"+dir+options)
	return "dir://" + dir
}

// TestEverySourceSinkAndFilter: whatever comes from wherever, through any filter,
// is a good image to us and to others, and the same one for any parallelism. It
// does not run beside other tests, which have the same images in the daemons.
func TestEverySourceSinkAndFilter(t *testing.T) {
	m, filters := matrix{judged: map[verdict]int{}}, filterCases(t)
	for source, from := range sources() {
		if !asked(source) {
			continue
		}
		uri := from.uri(t)
		for sink, to := range sinks() {
			for name := range filters {
				m.cells = append(m.cells, cell{from: source, to: sink, filter: name, source: uri, sink: to})
			}
		}
	}
	m.run(t)
}

// sinks are the destinations of the matrix.
func sinks() map[string]place {
	to := archiveSinks()
	maps.Copy(to, directorySinks())
	to["mounts"] = mountsSink()
	to["containerd"] = containerd()
	to["registry"] = place{
		uri:  func(t testing.TB) string { return registryURI(repository(t)) },
		look: checked, judge: judgeRegistry,
	}
	to["oci"] = place{
		uri:   func(t testing.TB) string { return "oci://" + filepath.Join(t.TempDir(), "bundle") },
		judge: judgeBundle,
	}
	for _, e := range engines {
		to[e.name] = place{uri: func(t testing.TB) string { return e.uri(t, e.image(t)) }, look: checked, judge: e.judge, chain: e.name}
	}
	return to
}
