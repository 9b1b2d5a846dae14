package dir_test

import (
	"path/filepath"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/scheme/dir"
)

func TestDirectoriesConform(t *testing.T) {
	t.Parallel()
	for query, end := range map[string]pipelinetest.End{
		"":                   {OwnManifests: true, OneImage: true},
		"?unique_names=true": {OwnManifests: true, OneImage: true},
		"?format=oci":        {},
	} {
		t.Run("layout"+query, func(t *testing.T) {
			t.Parallel()
			end.Sink = func(t *testing.T) (pipeline.Sink, func() (pipeline.Source, error)) {
				path := filepath.Join(t.TempDir(), "images")
				return sink(t, path+query), func() (pipeline.Source, error) {
					return pipeline.Schemes{dir.Scheme(dir.Config{})}.Source("dir://" + path)
				}
			}
			pipelinetest.TestEnd(t, end)
		})
	}
}
