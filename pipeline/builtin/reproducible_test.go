package builtin_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/builtin"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// build is what a builder makes of the same files at some time.
func build(t *testing.T, at time.Time) (*pipelinetest.Store, ocispec.Descriptor) {
	t.Helper()
	var files []pipelinetest.File
	for i := range 500 {
		when := at.Add(time.Duration(i*i) * time.Second)
		files = append(files, pipelinetest.File{Name: fmt.Sprint("usr/lib/", i), Body: fmt.Sprint("the content of file ", i, i*i), Time: when})
	}
	s := pipelinetest.NewStore()
	return s, s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, files...)}})
}

// Two builds of the same files at different times come out as one image, which is
// what normalize-timestamps is for; edited in their compressed form they have the
// same diff IDs, and no more.
func TestNormalizedBuildsAreEqual(t *testing.T) {
	t.Parallel()
	for spec, equal := range map[string]bool{
		"normalize-timestamps":                      true,
		"normalize-timestamps:recompress=auto":      true,
		"normalize-timestamps:recompress=canonical": true,
		"normalize-timestamps:recompress=transcode": false,
	} {
		manifests, configs := map[digest.Digest]bool{}, map[digest.Digest]bool{}
		for _, at := range []time.Time{time.Unix(1700000000, 0), time.Unix(1711111111, 0), time.Unix(1722334455, 0)} {
			s, img := build(t, at)
			f, err := builtin.Filters(builtin.Config{}).New(spec)
			if err != nil {
				t.Fatal(err)
			}
			report, err := pipeline.Run(t.Context(), s.Source(img, "app:1"), []pipeline.Filter{f}, pipelinetest.NewSink(), pipeline.Options{})
			if err != nil {
				t.Fatal(err)
			}
			manifests[report.Roots[0].Manifest.Digest] = true
			configs[report.Roots[0].Config] = true
		}
		if len(configs) != 1 || (len(manifests) == 1) != equal {
			t.Errorf("%s: three builds have %d manifests and %d configs", spec, len(manifests), len(configs))
		}
	}
}
