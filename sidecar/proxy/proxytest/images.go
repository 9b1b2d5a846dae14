package proxytest

import (
	"fmt"
	"math/rand/v2"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// Images makes n small images of some layers each: the lowest is the same in all, the
// others are its own. Every third is an index of two platforms. The same seed gives
// the same images.
func Images(t testing.TB, s *pipelinetest.Store, seed uint64, n int) []ocispec.Descriptor {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // it is to be the same each time
	base := Layer(t, "base", r)
	out := make([]ocispec.Descriptor, n)
	for i := range out {
		image := func(platform string) ocispec.Descriptor {
			return s.Image(t, pipelinetest.Image{Platform: platform, Compression: pipeline.Gzip, Layers: [][]byte{
				base, Layer(t, fmt.Sprintf("%d-%d-%s", seed, i, platform), r), Layer(t, fmt.Sprintf("top-%d-%d-%s", seed, i, platform), r),
			}})
		}
		if out[i] = image("linux/amd64"); i%3 == 2 {
			out[i] = s.Index(t, out[i], image("linux/arm64"))
		}
	}
	return out
}

// Layer is a tar with a small file, and one of up to 16 KiB that does not compress.
func Layer(t testing.TB, name string, r *rand.Rand) []byte {
	t.Helper()
	body := make([]byte, 1<<10+r.IntN(15<<10))
	for i := range body {
		body[i] = byte(r.Uint32())
	}
	return pipelinetest.Tar(t, pipelinetest.File{Name: name, Body: name}, pipelinetest.File{Name: name + ".bin", Body: string(body)})
}
