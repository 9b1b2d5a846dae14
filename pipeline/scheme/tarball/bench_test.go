package tarball_test

import (
	"io"
	"os"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline"
	ours "github.com/occystrap/occystrap/pipeline/scheme/tarball"
)

const (
	benchLayers = 8
	benchLayer  = 8 << 20
)

// BenchmarkSink writes layers of known and of unknown size, four at once.
func BenchmarkSink(b *testing.B) {
	body := make([]byte, benchLayer)
	for name, known := range map[string]bool{"known sizes": true, "unknown sizes": false} {
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			b.SetBytes(benchLayers * benchLayer)
			b.ReportAllocs()
			for b.Loop() {
				dst := sink(b, "tar://"+dir+"/out.tar", ours.Config{TempDir: dir})
				var g errgroup.Group
				g.SetLimit(4)
				for seq := range benchLayers {
					g.Go(func() error { return benchSend(b, dst, seq, body, known) })
				}
				if err := g.Wait(); err != nil {
					b.Fatal(err)
				}
				if err := dst.Close(); err != nil { // without Publish: the disk is not measured
					b.Fatal(err)
				}
			}
		})
	}
}

func benchSend(b *testing.B, dst pipeline.Sink, seq int, body []byte, known bool) error {
	desc := ocispec.Descriptor{Digest: digest.FromString(string(rune('a' + seq))), Size: int64(len(body))}
	l := pipeline.Layer{}
	if known {
		l.Blob = desc
	}
	w, err := dst.Layer(b.Context(), seq, l)
	if err != nil {
		return err
	}
	defer w.Close()
	const piece = 128 << 10
	for rest := body; len(rest) > 0; rest = rest[piece:] {
		if _, err := w.Write(rest[:piece]); err != nil {
			return err
		}
	}
	return w.Commit(b.Context(), desc, "")
}

// BenchmarkSource reads and verifies an archive from a file.
func BenchmarkSource(b *testing.B) {
	var i image
	for k := range benchLayers {
		i.add(pack(b, file("f", append(make([]byte, benchLayer), byte(k)))))
	}
	i.seal(b)
	path := store(b, i.dockerSave(b))
	for name, stream := range map[string]bool{"file": false, "stream": true} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(benchLayers * benchLayer)
			b.ReportAllocs()
			for b.Loop() {
				cfg, uri := ours.Config{TempDir: b.TempDir()}, "tar://"+path
				if stream {
					f, err := os.Open(path)
					if err != nil {
						b.Fatal(err)
					}
					defer f.Close()
					cfg.Stdin, uri = f, "tar://-"
				}
				g, err := source(b, uri, cfg).Open(b.Context(), pipeline.Query{})
				if err != nil {
					b.Fatal(err)
				}
				for l, err := range g.Layers(b.Context()) {
					if err != nil {
						b.Fatal(err)
					}
					rc, err := l.Open(b.Context())
					if err != nil {
						b.Fatal(err)
					}
					if _, err := io.Copy(io.Discard, rc); err != nil {
						b.Fatal(err)
					}
					rc.Close()
				}
				if err := g.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
