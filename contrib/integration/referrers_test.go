//go:build integration

package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// regctl runs it with the registry of the test environment in plain HTTP.
func regctl(t testing.TB, args ...string) string {
	t.Helper()
	host := "reg=" + pipelinetest.Env(t, "OCCYSTRAP_TEST_REGISTRY") + ",tls=disabled"
	return strings.TrimSpace(tool(t, "OCCYSTRAP_TEST_REGCTL", append([]string{"--host", host}, args...)...))
}

// put attaches a file to a manifest and returns the artifact's digest.
func put(t testing.TB, subject, kind, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "f")
	must(t, os.WriteFile(file, []byte(content), 0o600))
	regctl(t, "artifact", "put", "--subject", subject, "--artifact-type", kind, "--annotation", "org.example.kind="+kind, "-f", file)
	return regctl(t, "artifact", "list", subject, "--filter-artifact-type", kind, "--format", "{{range .Descriptors}}{{.Digest}}{{end}}")
}

// sign puts what cosign puts for an image, under its tag.
func sign(t testing.TB, ref string) {
	t.Helper()
	d := strings.TrimSpace(crane(t, "digest", ref))
	file := filepath.Join(t.TempDir(), "payload")
	must(t, os.WriteFile(file, []byte(`{"critical":{"image":{"docker-manifest-digest":"`+d+`"}}}`), 0o600))
	regctl(t, "artifact", "put", "--config-type", "application/vnd.oci.image.config.v1+json", "--file", file,
		"--file-media-type", "application/vnd.dev.cosign.simplesigning.v1+json", signatureOf(ref, d))
}

func signatureOf(ref, d string) string {
	return ref[:strings.LastIndex(ref, ":")] + ":" + strings.Replace(d, ":", "-", 1) + ".sig"
}

// referrersOf is what regctl finds: the SBOM of an image with its signature, by
// type and annotation.
func referrersOf(t testing.TB, ref string) string {
	t.Helper()
	const each = "{{range .Descriptors}}{{.Digest}} {{.ArtifactType}} {{index .Annotations \"org.example.kind\"}}\n{{end}}"
	return regctl(t, "artifact", "list", ref, "--format", each)
}

// What regctl and cosign attach in a real registry, which has no referrers API,
// they find again behind us: from registry to registry, and through an archive and
// a directory. Of a changed image provenance is left.
func TestReferrersAreFoundByOthers(t *testing.T) {
	t.Parallel()
	from := push(t, busybox(t))
	sbom := put(t, from, "application/spdx+json", `{"spdxVersion":"SPDX-2.3"}`)
	ofSBOM := put(t, from[:strings.LastIndex(from, ":")]+"@"+sbom, "application/x-signature", "signed")
	sign(t, from)
	want := referrersOf(t, from)
	d := strings.TrimSpace(crane(t, "digest", from))
	check := func(ref string) {
		t.Helper()
		if got := referrersOf(t, ref); got != want || !strings.Contains(got, sbom) {
			t.Errorf("%s has the referrers %q, want %q", ref, got, want)
		}
		repo := ref[:strings.LastIndex(ref, ":")]
		if got := referrersOf(t, repo+"@"+sbom); !strings.Contains(got, ofSBOM) {
			t.Errorf("the SBOM has the referrers %q", got)
		}
		if was, is := crane(t, "digest", signatureOf(from, d)), crane(t, "digest", signatureOf(ref, d)); was != is {
			t.Errorf("the signature was %s, is %s", was, is)
		}
		crane(t, "validate", "--remote", ref)
	}
	archive, dir := archivePath(t), t.TempDir()
	direct, back := repository(t), repository(t)
	occystrap(t, "process", registryURI(from), registryURI(direct), "--referrers", "--verify")
	check(direct)
	occystrap(t, "process", registryURI(direct), "tar://"+archive, "--referrers", "--verify")
	occystrap(t, "process", "tar://"+archive, "dir://"+dir+"?format=oci", "--referrers", "--verify")
	occystrap(t, "process", "dir://"+dir, registryURI(back), "--referrers")
	check(back)
	changed := repository(t)
	occystrap(t, "process", registryURI(from), registryURI(changed), "--referrers", "-f", "config:label=a=s3cr3t", "--provenance=referrer")
	if got := referrersOf(t, changed); !strings.Contains(got, "application/vnd.in-toto+json") || strings.Count(got, "\n") > 1 {
		t.Errorf("the changed image has the referrers %q", got)
	}
	if got := regctl(t, "artifact", "get", "--subject", changed); !strings.Contains(got, strings.TrimPrefix(d, "sha256:")) || strings.Contains(got, "s3cr3t") {
		t.Errorf("its provenance is %s", got)
	}
}
