//go:build integration

package integration

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// tool runs a program of the test environment and returns its output. It works
// in clean-ups too, when the test's own context has ended.
func tool(t testing.TB, key string, args ...string) string {
	t.Helper()
	return run(context.WithoutCancel(t.Context()), t, nil, nil, pipelinetest.Env(t, key), args...)
}

func run(ctx context.Context, t testing.TB, env []string, stdin io.Reader, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin = stdin
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(program), strings.Join(args, " "), err, &stdout, &stderr)
	}
	return stdout.String()
}

func crane(t testing.TB, args ...string) string {
	t.Helper()
	return tool(t, "OCCYSTRAP_TEST_CRANE", args...)
}

func skopeo(t testing.TB, args ...string) string {
	t.Helper()
	return tool(t, "OCCYSTRAP_TEST_SKOPEO", args...)
}

// repository is a new name in the registry; what has it when the test ends is
// removed.
func repository(t testing.TB) string {
	t.Helper()
	repo := pipelinetest.Env(t, "OCCYSTRAP_TEST_REGISTRY") + "/integration/" + strings.ToLower(rand.Text())
	t.Cleanup(func() {
		if d, ok := tryDigest(t, repo+":1"); ok {
			crane(t, "delete", repo+"@"+d)
		}
	})
	return repo + ":1"
}

func tryDigest(t testing.TB, ref string) (string, bool) {
	t.Helper()
	out, err := exec.CommandContext(context.WithoutCancel(t.Context()), pipelinetest.Env(t, "OCCYSTRAP_TEST_CRANE"), "digest", ref).Output()
	return strings.TrimSpace(string(out)), err == nil
}

// registryURI is an image of the registry.
func registryURI(ref string) string { return "registry://" + ref + "?insecure=true" }

// push puts a fixture into the registry, without us.
func push(t testing.TB, i fixture) string {
	t.Helper()
	ref := repository(t)
	skopeo(t, "copy", "--preserve-digests", "--dest-tls-verify=false", "oci-archive:"+i.archive(t, "fixture.test/x:1"), "docker://"+ref)
	return ref
}

// checkRegistry validates an image of the registry by two tools.
func checkRegistry(t testing.TB, ref string, want expectation) {
	t.Helper()
	crane(t, "validate", "--remote", ref)
	skopeo(t, "inspect", "--tls-verify=false", "docker://"+ref)
	want.compare(t, "in the registry", registryIdentity(t, ref))
	unpacked := t.TempDir()
	skopeo(t, "copy", "--src-tls-verify=false", "docker://"+ref, "dir:"+unpacked)
	want.compareXattrs(t, unpacked)
}

func registryIdentity(t testing.TB, ref string) identity {
	t.Helper()
	return newIdentity(t, crane(t, "manifest", ref), crane(t, "config", ref))
}

// checkArchive validates an archive by two tools: as an OCI layout and as what
// docker save writes.
func checkArchive(t testing.TB, path string, want expectation) {
	t.Helper()
	crane(t, "validate", "--tarball", path)
	skopeo(t, "inspect", "docker-archive:"+path)
	want.compare(t, "in the archive", archiveIdentity(t, path))
	unpacked := t.TempDir()
	skopeo(t, "copy", "oci-archive:"+path, "dir:"+unpacked)
	want.compareXattrs(t, unpacked)
}

func archiveIdentity(t testing.TB, path string) identity {
	t.Helper()
	return newIdentity(t, skopeo(t, "inspect", "--raw", "oci-archive:"+path), skopeo(t, "inspect", "--raw", "--config", "oci-archive:"+path))
}

// An identity is all that tells whether two images are the same; "" and nil are
// what a place does not keep.
type identity struct {
	manifest, config string
	diffIDs          []string
}

func newIdentity(t testing.TB, manifest, config string) identity {
	t.Helper()
	var m ocispec.Manifest
	var c ocispec.Image
	decode(t, manifest, &m)
	decode(t, config, &c)
	id := identity{manifest: digest.FromString(manifest).String(), config: m.Config.Digest.String()}
	for _, d := range c.RootFS.DiffIDs {
		id.diffIDs = append(id.diffIDs, d.String())
	}
	return id
}
