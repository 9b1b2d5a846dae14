package pipelinetest

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// Generated returns a source of one image with one plain layer, which write makes
// whenever it is read: it is nowhere in memory.
func Generated(t testing.TB, write func(w io.Writer) error) pipeline.Source {
	t.Helper()
	h := sha256.New()
	var size written
	if err := write(io.MultiWriter(h, &size)); err != nil {
		t.Fatal(err)
	}
	id := digest.NewDigest(digest.SHA256, h)
	s := NewStore()
	s.Corrupt(id, []byte{}) // it is held; its bytes come from write
	config := s.PutJSON(t, ocispec.MediaTypeImageConfig, map[string]any{"rootfs": map[string]any{"type": "layers", "diff_ids": []string{id.String()}}})
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayer, Digest: id, Size: int64(size)}}}
	m.SchemaVersion = 2
	return &generated{s.Source(s.PutJSON(t, ocispec.MediaTypeImageManifest, m)), write}
}

type generated struct {
	*Source
	write func(w io.Writer) error
}

func (g *generated) Open(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	graph, err := g.Source.Open(ctx, q)
	return &generatedGraph{graph, g}, err
}

type generatedGraph struct {
	pipeline.Graph
	g *generated
}

func (g *generatedGraph) Layers(ctx context.Context) iter.Seq2[pipeline.Layer, error] {
	return func(yield func(pipeline.Layer, error) bool) {
		for l, err := range g.Graph.Layers(ctx) {
			l.Open = func(context.Context) (io.ReadCloser, error) {
				r, w := io.Pipe()
				go func() {
					b := bufio.NewWriterSize(w, 1<<20)
					w.CloseWithError(errors.Join(g.g.write(b), b.Flush()))
				}()
				return r, nil
			}
			if !yield(l, err) {
				return
			}
		}
	}
}

// ManyFiles writes a tar of n empty files with long names. It patches one header,
// which is many times faster than a tar.Writer.
func ManyFiles(n int, modified time.Time) func(w io.Writer) error {
	return func(w io.Writer) error {
		const nameLen, sumAt, blocks = 100, 148, 2 * 512
		var b bytes.Buffer
		tw := tar.NewWriter(&b)
		if err := tw.WriteHeader(&tar.Header{Name: "x", Mode: 0o644, ModTime: modified, Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		header := b.Bytes()
		copy(header[sumAt:], "        ") // as it counts in the sum of itself
		rest := sumOf(header[nameLen:])
		for i := range n {
			clear(header[:nameLen])
			name := header[:copy(header, "usr/lib/python3/dist-packages/package")]
			name = append(strconv.AppendInt(name, int64(i/100), 10), "/module_"...)
			name = append(strconv.AppendInt(name, int64(i)*2654435761, 16), '_')
			name = append(strconv.AppendInt(name, int64(i), 10), ".py"...)
			copy(header[sumAt:], fmt.Sprintf("%06o\x00 ", rest+sumOf(name)))
			if _, err := w.Write(header); err != nil {
				return err
			}
		}
		_, err := w.Write(make([]byte, blocks))
		return err
	}
}

func sumOf(b []byte) (sum int) {
	for _, c := range b {
		sum += int(c)
	}
	return sum
}

// Heap says how many bytes more than before were live at most while do ran.
func Heap(do func()) uint64 {
	before := heap()
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() {
		most := before
		for {
			select {
			case <-stop:
				peak <- most
				return
			case <-time.After(250 * time.Millisecond):
				most = max(most, heap())
			}
		}
	}()
	do()
	close(stop)
	return <-peak - before
}

// heap is what is live.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

type written int64

func (w *written) Write(b []byte) (int, error) {
	*w += written(len(b))
	return len(b), nil
}
