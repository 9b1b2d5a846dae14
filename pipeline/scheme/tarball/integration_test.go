//go:build integration

package tarball_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	ours "github.com/occystrap/occystrap/pipeline/scheme/tarball"
)

// command runs a tool and returns what it prints.
func command(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s%s", name, args, err, out, stderr.Bytes())
	}
	return out
}

// freshArchive writes an image under a name of its own.
func freshArchive(t *testing.T, format, name string) (path string, i image) {
	t.Helper()
	i = newImage(t, name, 3)
	path = output(t, "out.tar")
	raw := i.oci(t, nil, gzipped, ocispec.MediaTypeImageLayerGzip, map[string]string{"io.containerd.image.name": name})
	if _, err := process(t, raw, "tar://"+path+"?format="+format, ours.Config{}); err != nil {
		t.Fatal(err)
	}
	return path, i
}

func TestDaemonsLoadAndSaveArchives(t *testing.T) {
	t.Parallel()
	for _, daemon := range []string{"DOCKER20", "DOCKER29", "DOCKER29_OVERLAY2", "PODMAN"} {
		for _, format := range []string{"auto", "docker"} {
			t.Run(daemon+"/"+format, func(t *testing.T) {
				t.Parallel()
				host := pipelinetest.Env(t, "OCCYSTRAP_TEST_"+daemon)
				docker := func(args ...string) []byte {
					return command(t, pipelinetest.Env(t, "OCCYSTRAP_TEST_DOCKER"), append([]string{"-H", host}, args...)...)
				}
				name := fmt.Sprintf("registry.example/tarball-test/%s:t%d", format, time.Now().UnixNano())
				path, i := freshArchive(t, format, name)
				docker("load", "-i", path)
				var layers []digest.Digest
				if err := json.Unmarshal(docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", name), &layers); err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(i.diffIDs, layers); d != "" {
					t.Error(d)
				}
				raw := docker("save", name)
				docker("rmi", name)
				bothWays(t, raw, "", func(t *testing.T, src pipeline.Source) {
					got, err := take(t.Context(), src, pipeline.Query{})
					if err != nil {
						t.Fatal(err)
					}
					root := got.roots()[0]
					if d := cmp.Diff(i.diffIDs, diffIDs(t, got, root)); d != "" {
						t.Error(d)
					}
					if d := cmp.Diff([]string{name}, root.Names); d != "" {
						t.Error(d)
					}
				})
			})
		}
	}
}

func TestSkopeoReadsEveryFormat(t *testing.T) {
	t.Parallel()
	skopeo := pipelinetest.Env(t, "OCCYSTRAP_TEST_SKOPEO")
	for format, transport := range map[string]string{"auto": "docker-archive:", "docker": "docker-archive:", "oci": "oci-archive:"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			path, i := freshArchive(t, format, "registry.example/tarball-test/skopeo:1")
			dir := t.TempDir()
			command(t, skopeo, "copy", "--insecure-policy", transport+path, "docker-archive:"+dir+"/docker.tar:a/b:1")
			command(t, skopeo, "copy", "--insecure-policy", transport+path, "oci-archive:"+dir+"/oci.tar:a/b:1")
			for _, file := range []string{"docker.tar", "oci.tar"} { // skopeo rewrites the config between the two kinds
				got, err := take(t.Context(), source(t, "tar://"+dir+"/"+file, ours.Config{}), pipeline.Query{})
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(i.diffIDs, diffIDs(t, got, got.roots()[0])); d != "" {
					t.Error(d)
				}
			}
		})
	}
}

func TestContainerdImportsAndExports(t *testing.T) {
	t.Parallel()
	ctr, socket := pipelinetest.Env(t, "OCCYSTRAP_TEST_CTR"), pipelinetest.Env(t, "OCCYSTRAP_TEST_CONTAINERD")
	for _, format := range []string{"auto", "oci"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			name := fmt.Sprintf("registry.example/tarball-test/ctr-%s:t%d", format, time.Now().UnixNano())
			path, i := freshArchive(t, format, name)
			run := func(args ...string) {
				command(t, ctr, append([]string{"-a", socket, "-n", "tarball-test"}, args...)...)
			}
			run("images", "import", "--no-unpack", path)
			exported := output(t, "export.tar")
			run("images", "export", exported, name)
			run("images", "rm", name)
			expect(t, read(t, exported), i)
		})
	}
}
