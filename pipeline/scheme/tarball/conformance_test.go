package tarball_test

import (
	"path/filepath"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/scheme/tarball"
)

func TestArchivesConform(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]pipelinetest.End{
		"x.tar?format=auto":   {},
		"x.tar?format=oci":    {},
		"x.tar?format=docker": {OwnManifests: true, OneImage: true},
		"x.tar.gz":            {},
		"x.tar.zst":           {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			end.Sink = func(t *testing.T) (pipeline.Sink, func() (pipeline.Source, error)) {
				schemes := pipeline.Schemes{tarball.Scheme(tarball.Config{TempDir: t.TempDir()})}
				path := filepath.Join(t.TempDir(), name)
				sink, err := schemes.Sink("tar://" + path)
				if err != nil {
					t.Fatal(err)
				}
				loc, err := pipeline.ParseLocation("tar://" + path)
				if err != nil {
					t.Fatal(err)
				}
				return sink, func() (pipeline.Source, error) { return schemes.Source("tar://" + loc.Path) }
			}
			pipelinetest.TestEnd(t, end)
		})
	}
}
