//go:build integration && linux

package integration

import (
	"maps"
	"path/filepath"
	"sync"
	"testing"
)

// A place is where the matrix reads images from or writes them to.
type place struct {
	// uri is a new name there; for a source, one with the image in it.
	uri func(t testing.TB) string
	// judge lets other programs look at what was written to uri.
	judge func(t testing.TB, uri string)
	// turn is held by whoever uses the place, where two at once would be in each
	// other's way; nil: nobody is.
	turn *sync.Mutex
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
// is a good image to us and to others, and the same one for any parallelism.
func TestEverySourceSinkAndFilter(t *testing.T) { //nolint:tparallel // not beside tests that have the same images in the daemons: see turns
	for name, from := range sources() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := from.uri(t)
			for name, to := range sinks() {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					for name, filters := range filterCases(t) {
						t.Run(name, func(t *testing.T) {
							t.Parallel()
							if to.turn != nil {
								to.turn.Lock()
								t.Cleanup(to.turn.Unlock) // after the clean-ups to come
							}
							one, many := to.uri(t), to.uri(t)
							first, second := processAs(t, source, one, "1", filters), processAs(t, source, many, "8", filters)
							if first != second {
								t.Errorf("with one worker it is %+v, with eight %+v", first, second)
							}
							to.judge(t, one)
						})
					}
				})
			}
		})
	}
}

// turns keep apart those who load into one daemon and remove from it again: most
// filters leave the fixture as it is, so all of them have one image there, by
// many names, and daemons lose names when others of the image come and go.
var turns = func() map[string]*sync.Mutex {
	all := map[string]*sync.Mutex{}
	for _, e := range engines {
		all[e.name] = &sync.Mutex{}
	}
	return all
}()

// sinks are the destinations of the matrix.
func sinks() map[string]place {
	to := archiveSinks()
	maps.Copy(to, directorySinks())
	to["mounts"] = mountsSink()
	to["containerd"] = containerd()
	to["registry"] = place{
		uri: func(t testing.TB) string { return registryURI(repository(t)) },
		judge: func(t testing.TB, uri string) {
			judgeRegistry(t, uri)
			checked(t, uri)
		},
	}
	to["oci"] = place{
		uri:   func(t testing.TB) string { return "oci://" + filepath.Join(t.TempDir(), "bundle") },
		judge: judgeBundle,
	}
	for _, e := range engines {
		to[e.name] = place{uri: func(t testing.TB) string { return e.uri(t, e.image(t)) }, judge: e.judge, turn: turns[e.name]}
	}
	return to
}
