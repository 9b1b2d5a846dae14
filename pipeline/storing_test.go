package pipeline_test

import (
	"encoding/json"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// storedAs is what a run with these options makes of an image of two
// layers.
func storedAs(t *testing.T, docker bool, came pipeline.Compression, want pipeline.Storing, sink *pipelinetest.Sink) (pipeline.Report, ocispec.Manifest) {
	t.Helper()
	s := pipelinetest.NewStore()
	img := s.Image(t, pipelinetest.Image{Docker: docker, Compression: came, Layers: [][]byte{
		pipelinetest.Tar(t, pipelinetest.File{Name: "a", Body: "the first"}), pipelinetest.Tar(t, pipelinetest.File{Name: "b", Body: "the second"}),
	}})
	report, err := pipeline.Run(t.Context(), s.Source(img, "app:1"), nil, sink, pipeline.Options{Storing: want})
	if err != nil {
		t.Fatal(err)
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(sink.Published[0].Raw, &m); err != nil {
		t.Fatal(err)
	}
	return report, m
}

func TestLayersAreStoredAsAskedFor(t *testing.T) {
	t.Parallel()
	const dockerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	for name, c := range map[string]struct {
		docker    bool
		came      pipeline.Compression
		want      pipeline.Storing
		how       pipeline.How
		mediaType string
	}{
		"gzip becomes zstd":              {false, pipeline.Gzip, pipeline.Storing{Compression: pipeline.Zstd}, pipeline.HowRecoded, ocispec.MediaTypeImageLayerZstd},
		"Docker has no type for zstd":    {true, pipeline.Gzip, pipeline.Storing{Compression: pipeline.Zstd, Level: 9}, pipeline.HowRecoded, ocispec.MediaTypeImageLayerZstd},
		"zstd becomes gzip":              {false, pipeline.Zstd, pipeline.Storing{Compression: pipeline.Gzip, Level: 9}, pipeline.HowRecoded, ocispec.MediaTypeImageLayerGzip},
		"plain becomes gzip":             {true, pipeline.Plain, pipeline.Storing{Compression: pipeline.Gzip}, pipeline.HowRecoded, dockerGzip},
		"what is gzip already stays":     {true, pipeline.Gzip, pipeline.Storing{Compression: pipeline.Gzip}, pipeline.HowCopied, dockerGzip},
		"a level is not seen, so: anew":  {false, pipeline.Gzip, pipeline.Storing{Compression: pipeline.Gzip, Level: 1}, pipeline.HowRecoded, ocispec.MediaTypeImageLayerGzip},
		"without a word nothing changes": {false, pipeline.Zstd, pipeline.Storing{}, pipeline.HowCopied, ocispec.MediaTypeImageLayerZstd},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report, m := storedAs(t, c.docker, c.came, c.want, pipelinetest.NewSink())
			for i, l := range report.Layers {
				if l.How != c.how || m.Layers[i].MediaType != c.mediaType {
					t.Errorf("layer %d is %s, %s", i, l.How, m.Layers[i].MediaType)
				}
			}
			again, _ := storedAs(t, c.docker, c.came, c.want, pipelinetest.NewSink())
			if again.Roots[0].Manifest.Digest != report.Roots[0].Manifest.Digest {
				t.Error("the same again has another digest")
			}
		})
	}
}

func TestALayerThatBecomesAnotherIsNotHeld(t *testing.T) {
	t.Parallel()
	sink := pipelinetest.NewSink()
	storedAs(t, false, pipeline.Gzip, pipeline.Storing{}, sink)
	sink.Published, sink.Committed = nil, nil
	report, _ := storedAs(t, false, pipeline.Gzip, pipeline.Storing{Compression: pipeline.Gzip}, sink)
	for _, l := range report.Layers {
		if l.How != pipeline.HowHeld {
			t.Errorf("a layer that stays is %s", l.How)
		}
	}
	sink.Published, sink.Committed = nil, nil
	report, _ = storedAs(t, false, pipeline.Gzip, pipeline.Storing{Compression: pipeline.Gzip, Level: 9}, sink)
	for _, l := range report.Layers {
		if l.How != pipeline.HowRecoded {
			t.Errorf("a layer that is compressed anew is %s", l.How)
		}
	}
}

func TestADestinationOfPlainLayersSaysSo(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{
		pipelinetest.Tar(t, pipelinetest.File{Name: "a"}), pipelinetest.Tar(t, pipelinetest.File{Name: "b"}),
	}})
	sink := pipelinetest.NewSink()
	sink.Wants.Encoding.Compression = pipeline.Plain
	warnings := make(chan string, 10)
	report, err := pipeline.Run(t.Context(), s.Source(img, "app:1"), nil, sink, pipeline.Options{
		Storing: pipeline.Storing{Compression: pipeline.Zstd},
		Query: pipeline.Query{Events: func(e pipeline.Event) {
			if e.Kind == pipeline.EventWarning {
				warnings <- e.Message
			}
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if report.Layers[0].ResultDiffID != report.Layers[0].Result.Digest {
		t.Error("the layer is not plain")
	}
	if len(warnings) != 1 || <-warnings != "the destination stores layers plain, so none is compressed with zstd" {
		t.Errorf("%d warnings", len(warnings))
	}
}
