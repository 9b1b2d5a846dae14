package cliplugin

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

func TestSizesArePowersOf1024(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		-1: "N/A", 0: "0 B", 1023: "1023 B", 1024: "1.0 KB", 1536: "1.5 KB", 1 << 20: "1.0 MB", 5 << 30: "5.0 GB", 3 << 40: "3072.0 GB",
	} {
		if got := infoSize(n); got != want {
			t.Errorf("%d is %s, expected %s", n, got, want)
		}
	}
}

func TestAgesAreInTheirLargestUnit(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for d, want := range map[time.Duration]string{
		time.Second: "new", time.Hour: "1 hour", 25 * time.Hour: "1 day", 20 * day: "2 weeks", 45 * day: "1 month", 800 * day: "2 years", -day: "new",
	} {
		if got := age(d); got != want {
			t.Errorf("%s is %q, expected %q", d, got, want)
		}
	}
}

// The container's configuration is in the lines of the original; what strangers
// wrote stays on its line.
func TestConfigIsShownAsEver(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	writeConfig(&b, ocispec.ImageConfig{
		Entrypoint: []string{"/bin/sh", "-c", "it's\x1b[2J"}, Cmd: []string{"a"}, WorkingDir: "/w\n", User: "0",
		ExposedPorts: map[string]struct{}{"80/tcp": {}, "443/tcp": {}}, Volumes: map[string]struct{}{"/v": {}},
		Env: []string{"A=b\x07"}, Labels: map[string]string{"k": "v", "a": "b"},
	})
	const want = `Container Config:
  Entrypoint: ['/bin/sh', '-c', "it's\x1b[2J"]
  Cmd: ['a']
  WorkingDir: "/w\n"
  User: 0
  Ports: 443/tcp, 80/tcp
  Volumes: /v
  Environment:
    "A=b\a"
  Labels:
    a=b
    k=v
`
	if b.String() != want {
		t.Errorf("shown is\n%s\nexpected\n%s", b.String(), want)
	}
}

func TestTablesWrapAndLeaveOutEmptyColumns(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	table{head: []string{"#", "None", "By"}, rows: [][]string{{"0", "", strings.Repeat("word ", 12) + strings.Repeat("x", 60)}}}.write(&b)
	if strings.Contains(b.String(), "None") || strings.Count(b.String(), "\n") != 8 {
		t.Errorf("shown is\n%s", b.String())
	}
	width := strings.IndexByte(b.String(), '\n')
	for line := range strings.Lines(b.String()) {
		if len(line) != width+1 || width > wrapAt+11 {
			t.Errorf("a line of %d: %q", len(line), line)
		}
	}
}

// Of an index all entries are shown: platforms, attestations, and those that the
// source does not hold. Nothing is opened.
func TestAnIndexIsShownWithAttestationsAndWhatIsMissing(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	plain := pipelinetest.Tar(t, pipelinetest.File{Name: "x"})
	here := s.Image(t, pipelinetest.Image{Layers: [][]byte{plain}})
	missing := s.Image(t, pipelinetest.Image{Platform: "linux/arm64"})
	index := s.Index(t, here, missing, s.Attestation(t, here.Digest))
	s.Delete(missing.Digest)
	a, err := inspect(t.Context(), s.Source(index, "docker.io/library/app:1"), pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := writeInfo(&b, a); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Index:         " + index.Digest.String() + "\n", "| linux/amd64 ", "| linux/arm64 ", "| attestation of " + shortDigest(here.Digest) + " |",
		"| yes  |", "| no   |", "Image:         app:1\n", "Manifest:      " + here.Digest.String() + "\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
	if n := s.Opened(digest.FromBytes(plain)); n != 0 || len(a.images) != 1 {
		t.Errorf("the layer was opened %d times, there are %d images", n, len(a.images))
	}
}
