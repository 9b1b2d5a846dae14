package remote_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/credential"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
)

// An image goes from memory to a registry, and from there to another name: its
// layers are in the registry then, and nothing is sent.
func ExampleScheme() {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	schemes := pipeline.Schemes{remote.Scheme(remote.Config{
		Source:    credential.Default(os.Getenv),
		Sink:      credential.Default(os.Getenv),
		UserAgent: "example/1",
	})}

	t := &testing.T{}
	store := pipelinetest.NewStore()
	image := store.Image(t, pipelinetest.Image{
		Platform: "linux/" + pipeline.DefaultPlatform().Architecture, Compression: pipeline.Gzip,
		Layers: [][]byte{pipelinetest.Tar(t, pipelinetest.File{Name: "hello", Body: "world"})},
	})
	run := func(src pipeline.Source, to string) {
		dst, err := schemes.Sink("registry://" + host + to)
		if err != nil {
			log.Fatal(err)
		}
		report, err := pipeline.Run(context.Background(), src, nil, dst, pipeline.Options{})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(report.Layers[0].How, report.Roots[0].Manifest.Digest == image.Digest)
	}
	run(store.Source(image), "/team/app:1")
	again, err := schemes.Source("registry://" + host + "/team/app:1")
	if err != nil {
		log.Fatal(err)
	}
	run(again, "/team/app:2")
	// Output:
	// copied true
	// held true
}
