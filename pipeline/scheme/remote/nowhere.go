package remote

import (
	"context"

	"github.com/occystrap/occystrap/pipeline"
)

// nowhere is what a name that is none is read from and written to: an error.
type nowhere struct{ err error }

var (
	_ pipeline.Source  = nowhere{}
	_ pipeline.Sink    = nowhere{}
	_ pipeline.Limited = nowhere{}
)

func (n nowhere) Open(context.Context, pipeline.Query) (pipeline.Graph, error) { return nil, n.err }

func (n nowhere) Capacity(context.Context) (pipeline.Capacity, error) {
	return pipeline.Capacity{}, n.err
}

func (n nowhere) Plan(context.Context, pipeline.Layer) (pipeline.Plan, error) {
	return pipeline.Plan{}, n.err
}

func (n nowhere) Layer(context.Context, int, pipeline.Layer) (pipeline.LayerWriter, error) {
	return nil, n.err
}

func (n nowhere) Commit(context.Context, pipeline.Manifest) error { return n.err }

func (n nowhere) Publish(context.Context) error { return n.err }

func (n nowhere) Close() error { return nil }
