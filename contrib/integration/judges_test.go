//go:build integration && linux

package integration

import (
	"os"
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

// pathOf is the path of a tar:// or dir:// without its options.
func pathOf(uri string) string {
	_, path, _ := strings.Cut(uri, "://")
	path, _, _ = strings.Cut(path, "?")
	return path
}

// archiveSinks are the formats of tar://.
func archiveSinks() map[string]place {
	in := func(option string, judge func(t testing.TB, path string)) place {
		return place{
			uri:   func(t testing.TB) string { return "tar://" + archivePath(t) + option },
			look:  func(t testing.TB, uri string) { checked(t, "tar://"+pathOf(uri)) },
			judge: func(t testing.TB, uri string) { judge(t, pathOf(uri)) },
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
			uri:   func(t testing.TB) string { return "dir://" + t.TempDir() + option },
			look:  func(t testing.TB, uri string) { checked(t, "dir://"+pathOf(uri)) },
			judge: func(t testing.TB, uri string) { judge(t, pathOf(uri)) },
		}
	}
	packed := func(t testing.TB, dir string) {
		path := archivePath(t)
		run(t.Context(), t, nil, nil, "tar", "-cf", path, "-C", dir, ".")
		crane(t, "validate", "--tarball", path)
		skopeo(t, "inspect", "docker-archive:"+path)
	}
	return map[string]place{
		"oci": {
			uri: func(t testing.TB) string { return "oci://" + filepath.Join(t.TempDir(), "bundle") },
			judge: func(t testing.TB, uri string) {
				dir := strings.TrimPrefix(uri, "oci://")
				judgeTree(t, filepath.Join(dir, "rootfs"))
				if _, err := os.Stat(filepath.Join(dir, "config.json")); err != nil {
					t.Error(err)
				}
			},
		},
		"dir": in("", packed),
		"dir expand": in("?expand=true", func(t testing.TB, dir string) {
			judgeTree(t, filepath.Join(dir, "manifest"))
		}),
		"dir format=oci": in("?format=oci", func(t testing.TB, dir string) { judgeLayout(t, "oci:"+dir) }),
	}
}

// judgeTree wants the fixture's files as its layers leave them.
func judgeTree(t testing.TB, root string) {
	t.Helper()
	got := readTree(t, root)
	for name, there := range map[string]bool{"opt/data": true, "opt/hard": true, "opt/dir/new": true, "opt/gone": false, "opt/dir/old": false, "bin/busybox": true} {
		if (got[name] != "") != there {
			t.Errorf("%s in %s: %q", name, root, got[name])
		}
	}
	if hard := "one file: opt/data opt/hard"; !strings.Contains(got["opt/data"], hard) {
		t.Errorf("opt/data is %s, want %s", got["opt/data"], hard)
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
	path := archivePath(t)
	e.docker(t, "save", "-o", path, name)
	crane(t, "validate", "--tarball", path)
	skopeo(t, "inspect", "docker-archive:"+path)
}
