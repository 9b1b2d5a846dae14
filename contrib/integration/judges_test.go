//go:build integration && linux

package integration

import (
	"path/filepath"
	"strings"
	"testing"
)

// checked lets our own check look at an image: neither an error nor a warning
// that says a reader might take it otherwise.
func checked(t testing.TB, uri string) {
	t.Helper()
	if out := occystrap(t, "check", uri); !strings.Contains(out, " 0 error(s)") {
		t.Errorf("check %s says\n%s", uri, out)
	}
}

// judgeRegistry lets crane and skopeo look at an image of the registry.
func judgeRegistry(t testing.TB, uri string) {
	t.Helper()
	ref, _, _ := strings.Cut(strings.TrimPrefix(uri, "registry://"), "?")
	crane(t, "validate", "--remote", ref)
	skopeo(t, "inspect", "--tls-verify=false", "docker://"+ref)
}

// judgeLayout lets skopeo read an OCI layout, and crane what skopeo then has in
// the registry: crane validates no layouts, and no layers that are not compressed.
func judgeLayout(t testing.TB, layout string) {
	t.Helper()
	skopeo(t, "inspect", layout)
	ref := repository(t)
	skopeo(t, "copy", "--dest-tls-verify=false", layout, "docker://"+ref)
	crane(t, "validate", "--remote", ref)
}

// archiveSinks are the formats of tar://.
func archiveSinks() map[string]place {
	in := func(option string, judge func(t testing.TB, path string)) place {
		return place{
			uri: func(t testing.TB) string { return "tar://" + archivePath(t) + option },
			judge: func(t testing.TB, uri string) {
				path, _, _ := strings.Cut(strings.TrimPrefix(uri, "tar://"), "?")
				judge(t, path)
				checked(t, "tar://"+path)
			},
		}
	}
	dockers := func(t testing.TB, path string) {
		crane(t, "validate", "--tarball", path)
		skopeo(t, "inspect", "docker-archive:"+path)
	}
	layouts := func(t testing.TB, path string) { judgeLayout(t, "oci-archive:"+path) }
	return map[string]place{
		"tar":               in("", func(t testing.TB, path string) { dockers(t, path); layouts(t, path) }),
		"tar format=docker": in("?format=docker", dockers),
		"tar format=oci":    in("?format=oci", layouts),
	}
}

// directorySinks are the formats of dir://.
func directorySinks() map[string]place {
	in := func(option string, judge func(t testing.TB, dir string)) place {
		return place{
			uri: func(t testing.TB) string { return "dir://" + t.TempDir() + option },
			judge: func(t testing.TB, uri string) {
				dir, _, _ := strings.Cut(strings.TrimPrefix(uri, "dir://"), "?")
				judge(t, dir)
				checked(t, "dir://"+dir)
			},
		}
	}
	packed := func(t testing.TB, dir string) {
		path := archivePath(t)
		run(t.Context(), t, nil, nil, "tar", "-cf", path, "-C", dir, ".")
		crane(t, "validate", "--tarball", path)
		skopeo(t, "inspect", "docker-archive:"+path)
	}
	return map[string]place{
		"dir": in("", packed),
		"dir expand": in("?expand=true", func(t testing.TB, dir string) {
			if got := readTree(t, filepath.Join(dir, "manifest")); len(got) < 10 {
				t.Errorf("the tree has %d paths", len(got))
			}
		}),
		"dir format=oci": in("?format=oci", func(t testing.TB, dir string) { judgeLayout(t, "oci:"+dir) }),
	}
}

// judge lets the daemon run the image, and crane and skopeo look at what it saves:
// skopeo of Debian speaks an API that Docker 29 does not any more.
func (e engine) judge(t testing.TB, uri string) {
	t.Helper()
	name, _, _ := strings.Cut(strings.TrimPrefix(uri, "docker://"), "?")
	out := e.docker(t, "run", "--rm", "--network", "none", name, "sh", "-c", probeLayered)
	if !strings.HasPrefix(out, saysLayered) {
		t.Errorf("%s in %s says\n%s\nwant\n%s", name, e.name, out, saysLayered)
	}
	checked(t, uri)
	path := archivePath(t)
	e.docker(t, "save", "-o", path, name)
	crane(t, "validate", "--tarball", path)
	skopeo(t, "inspect", "docker-archive:"+path)
}
