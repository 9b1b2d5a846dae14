package daemon_test

import (
	"testing"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
)

// TestConformance: both ends keep what every source and sink promises, with an
// engine that exports what was loaded.
func TestConformance(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func() *fake{
		"containerd store": func() *fake { return &fake{api: "1.51", indexes: true} },
		"graph driver":     func() *fake { return &fake{api: "1.51"} },
		"Podman":           func() *fake { return &fake{podman: true} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pipelinetest.TestEnd(t, pipelinetest.End{
				OneImage: !f().indexes,
				Sink: func(t *testing.T) (pipeline.Sink, func() (pipeline.Source, error)) {
					return bothEnds(t, start(t, f()).uri("app:1"))
				},
			})
		})
	}
}

// bothEnds opens a location as a sink now, and as a source later.
func bothEnds(t *testing.T, uri string) (pipeline.Sink, func() (pipeline.Source, error)) {
	t.Helper()
	s := schemes(daemon.Config{TempDir: t.TempDir()})
	sink, err := s.Sink(uri)
	must(t, err)
	return sink, func() (pipeline.Source, error) { return s.Source(uri) }
}
