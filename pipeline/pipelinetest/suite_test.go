package pipelinetest_test

import (
	"errors"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// The fakes keep the rules that they are there to check.
func TestFakesConform(t *testing.T) {
	t.Parallel()
	pipelinetest.TestEnd(t, pipelinetest.End{Sink: func(*testing.T) (pipeline.Sink, func() (pipeline.Source, error)) {
		dst := pipelinetest.NewSink()
		return dst, func() (pipeline.Source, error) {
			if len(dst.Published) == 0 {
				return nil, errors.New("nothing was published")
			}
			m := dst.Published[0]
			return dst.Store.Source(m.Desc, m.Names...), nil
		}
	}})
}

func TestMemoryRegistryConforms(t *testing.T) {
	t.Parallel()
	pipelinetest.TestBackend(t, func(*testing.T) registry.Backend { return pipelinetest.NewRegistry().Backend() })
}
