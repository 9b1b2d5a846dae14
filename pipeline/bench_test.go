package pipeline_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// discard is a sink that keeps nothing.
type discard struct{}

func (discard) Plan(context.Context, pipeline.Layer) (pipeline.Plan, error) {
	return pipeline.Plan{}, nil
}

func (discard) Layer(context.Context, int, pipeline.Layer) (pipeline.LayerWriter, error) {
	return discardLayer{io.Discard}, nil
}
func (discard) Commit(context.Context, pipeline.Manifest) error { return nil }
func (discard) Publish(context.Context) error                   { return nil }
func (discard) Close() error                                    { return nil }

type discardLayer struct{ io.Writer }

func (discardLayer) Commit(context.Context, ocispec.Descriptor, digest.Digest) error { return nil }
func (discardLayer) Close() error                                                    { return nil }

// prose is a layer of n files that compress about as real ones do.
func prose(b *testing.B, n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 3000)
	for i := range words {
		words[i] = fmt.Sprintf("%x", r.Uint64()>>(20+r.IntN(30)))
	}
	var all []pipelinetest.File
	for i := range n {
		var body strings.Builder
		for body.Len() < 8000 {
			body.WriteString(words[int(float64(len(words))*r.Float64()*r.Float64())] + " ")
		}
		all = append(all, pipelinetest.File{Name: fmt.Sprintf("usr/share/%04d", i), Body: body.String()})
	}
	return pipelinetest.Tar(b, all...)
}

// BenchmarkRun runs one gzip layer: as it came, scanned, rewritten. Bytes are
// those of the plain tar.
func BenchmarkRun(b *testing.B) {
	plain := prose(b, 4000)
	s := pipelinetest.NewStore()
	src := s.Source(s.Image(b, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{plain}}))
	for name, filters := range map[string][]pipeline.Filter{
		"AsItCame": nil,
		"Scan":     {rename{"no such file", "x"}},
		"Rewrite":  {rename{"usr/share/0000", "x"}},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(plain)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := pipeline.Run(context.Background(), src, filters, discard{}, pipeline.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
