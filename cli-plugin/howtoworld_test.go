package cliplugin_test

import (
	"archive/tar"
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/rogpeppe/go-internal/testscript"
)

// lookupTool finds a part of the test environment; only integration tests do.
var lookupTool = func(string) (string, bool) { return "", false }

// tools are the parts that a page may need, and their keys in the environment.
var tools = map[string]string{
	"docker": "OCCYSTRAP_TEST_DOCKER29", "podman": "OCCYSTRAP_TEST_PODMAN_BIN", "skopeo": "OCCYSTRAP_TEST_SKOPEO", "crane": "OCCYSTRAP_TEST_CRANE",
	"umoci": "OCCYSTRAP_TEST_UMOCI", "runc": "OCCYSTRAP_TEST_RUNC", "crun": "OCCYSTRAP_TEST_CRUN", "root": "OCCYSTRAP_TEST_RUNC",
}

// has answers conditions as [has:docker]. A block that needs mounts has the right
// to mount, in a namespace that ends with it; one that needs namespaces makes one.
func has(asked string) (bool, error) {
	need, ok := strings.CutPrefix(asked, "has:")
	if need == "mounts" || need == "namespaces" {
		return condition("mounts")
	}
	if !ok || tools[need] == "" {
		return false, fmt.Errorf("nobody knows how to have %q", asked)
	}
	_, found := lookupTool(tools[need])
	return found && (need != "root" || os.Geteuid() == 0), nil
}

// provide lets the block that follows find what it needs: a tool by its path, a
// daemon by DOCKER_HOST.
func provide(ts *testscript.TestScript, needs []string) {
	for _, need := range needs {
		value, _ := lookupTool(tools[need])
		switch need {
		case "docker":
			ts.Setenv("DOCKER_HOST", value)
		case "root", "mounts", "namespaces":
		default:
			ts.Setenv("PATH", filepath.Dir(value)+string(os.PathListSeparator)+ts.Getenv("PATH"))
		}
	}
}

// mkleak FILE NAME writes an image as it should not be: a key that a later layer
// deletes, and a large file that is there twice.
func makeLeak(ts *testscript.TestScript, _ bool, args []string) {
	tag, err := name.NewTag(args[1])
	ts.Check(err)
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize)))
	ts.Check(err)
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	model := strings.Repeat("model", 40<<10)
	steps := []struct {
		by      string
		headers []tar.Header
	}{
		{"ADD rootfs.tar /", []tar.Header{
			{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755},
			{Name: "etc/os-release", Linkname: "ID=debian\n", Mode: 0o644},
			{Name: "usr/bin/", Typeflag: tar.TypeDir, Mode: 0o755},
			{Name: "usr/bin/su", Linkname: "su", Mode: 0o4755},
		}},
		{"COPY . /app", []tar.Header{
			{Name: "app/", Typeflag: tar.TypeDir, Mode: 0o755},
			{Name: "app/deploy.key", Linkname: string(key), Mode: 0o600},
			{Name: "app/model.bin", Linkname: model, Mode: 0o644},
			{Name: "app/settings.py", Linkname: "DEBUG = True\nDB_HOST = 'db.internal'\n", Mode: 0o644},
		}},
		{"RUN rm /app/deploy.key && chown -R app /app", []tar.Header{
			{Name: "app/.wh.deploy.key"},
			{Name: "app/model.bin", Linkname: model, Mode: 0o644, Uid: 1000},
		}},
	}
	img := empty.Image
	for _, s := range steps {
		img, err = mutate.Append(img, mutate.Addendum{
			Layer:   static.NewLayer(oddLayer(ts, s.headers), types.DockerUncompressedLayer),
			History: v1.History{CreatedBy: s.by, Created: v1.Time{Time: built}},
		})
		ts.Check(err)
	}
	ts.Check(tarball.WriteToFile(ts.MkAbs(args[0]), tag, img))
}
