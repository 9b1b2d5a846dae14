//go:build integration && linux

package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// touched are paths that a daemon makes or changes in every container.
var touched = []string{".dockerenv", "dev", "proc", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab"}

// An archive to unpack, and how skopeo reads it: a transport, and where it has
// several images the name of one.
type sample struct{ path, transport, image string }

// at is the archive as skopeo names it.
func (s sample) at() string {
	if s.image == "" {
		return s.transport + s.path
	}
	return s.transport + s.path + ":" + s.image
}

func (s sample) uri() string {
	if s.image == "" {
		return "tar://" + s.path
	}
	return "tar://" + s.path + "?image=" + s.image
}

// samples are archives of other tools, and the fixture with links, whiteouts and
// attributes.
func samples(t testing.TB) map[string]sample {
	t.Helper()
	const dir = "../../pipeline/scheme/tarball/testdata/images/"
	found := map[string]sample{"layered": {layered(t).archive(t, "fixture.test/x:1"), "oci-archive:", ""}}
	for name, s := range map[string]sample{
		"busybox-1.36.1-musl-amd64-oci": {transport: "oci-archive:"},
		"dive-test-docker-image":        {transport: "docker-archive:"},
		"dive-test-kaniko-image":        {transport: "docker-archive:"},
		"dive-test-oci-zstd-image":      {transport: "oci-archive:"},
		"ggcr-test_link":                {transport: "docker-archive:", image: "bazel/v1/tarball:test_image_3"},
		"ggcr-whiteout_image":           {transport: "docker-archive:"},
	} {
		s.path = dir + name + ".tar"
		found[name] = s
	}
	return found
}

// expanded unpacks an archive with dir://?expand=true.
func expanded(t testing.TB, s sample) tree {
	t.Helper()
	dir := t.TempDir()
	process(t, s.uri(), "dir://"+dir+"?expand=true", false)
	return readTree(t, filepath.Join(dir, "manifest"))
}

// TestExpandedTreeIsThatOfUmoci: the same files, owners, modes, times, attributes
// and links as umoci unpacks from a layout that skopeo wrote.
func TestExpandedTreeIsThatOfUmoci(t *testing.T) {
	t.Parallel()
	for name, s := range samples(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			work := t.TempDir()
			skopeo(t, "copy", "--format", "oci", "--dest-compress", "--dest-compress-format", "gzip", s.at(), "oci:"+work+"/layout:1")
			tool(t, "OCCYSTRAP_TEST_UMOCI", "unpack", "--image", work+"/layout:1", work+"/bundle")
			expanded(t, s).untimed(".").equal(t, "umoci", readTree(t, work+"/bundle/rootfs").untimed("."))
		})
	}
}

// TestExpandedTreeIsThatOfDockerExport: the same as docker export gives of a
// container that never ran.
func TestExpandedTreeIsThatOfDockerExport(t *testing.T) {
	t.Parallel()
	onEachDocker(t, func(t *testing.T, e engine) {
		for name, s := range samples(t) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				image := e.image(t)
				process(t, s.uri(), e.uri(t, image), false)
				container := strings.TrimSpace(e.docker(t, "create", "--network", "none", image, "/none"))
				t.Cleanup(func() { e.docker(t, "rm", "-f", container) })
				work := t.TempDir()
				e.docker(t, "export", "-o", work+"/export.tar", container)
				must(t, os.Mkdir(work+"/tree", 0o755))
				run(t.Context(), t, nil, nil, "tar", "-x", "--same-owner", "--numeric-owner", "-p", "--xattrs", "--xattrs-include=*", "-f", work+"/export.tar", "-C", work+"/tree")
				its, ours := readTree(t, work+"/tree").without(touched...).untimed(".", "etc"), expanded(t, s)
				if ours["etc"] == "" {
					its = its.without("etc") // made for the files that the daemon puts there
				}
				ours.without(touched...).untimed(".", "etc").exported().equal(t, "docker export", its)
			})
		}
	})
}
