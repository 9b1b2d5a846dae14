package pipeline_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// An image goes from one place to another; a filter renames a file on the way.
// Real places come from the packages below scheme/, real filters from package
// filter.
func ExampleRun() {
	t := &testing.T{}
	store := pipelinetest.NewStore()
	layer := pipelinetest.Tar(t, pipelinetest.File{Name: "old", Body: "content"})
	image := store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{layer}})
	source := store.Source(image, "registry.example/app:1")

	report, err := pipeline.Run(context.Background(), source, []pipeline.Filter{rename{"old", "new"}}, pipelinetest.NewSink(), pipeline.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.Roots[0].Names, report.Layers[0].How)
	// Output: [registry.example/app:1] transcoded
}
