package check_test

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/check"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// generated is a source of one image with a layer that is made while it is read.
type generated struct {
	*pipelinetest.Source
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

// many writes a tar of n empty files with long names.
func many(n int) func(w io.Writer) error {
	return func(w io.Writer) error {
		tw := tar.NewWriter(w)
		for i := range n {
			name := fmt.Sprintf("usr/lib/python3/dist-packages/package%d/module_%x_%d.py", i/100, i*2654435761, i)
			if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, ModTime: time.Unix(1e9, 0)}); err != nil {
				return err
			}
		}
		return tw.Close()
	}
}

// An image of 500,000 files is checked within 64 MiB of live memory, so that the
// process stays within 128.
func TestMemoryOfManyFilesIsBounded(t *testing.T) {
	const files, most = 500_000, 64 << 20
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	h := sha256.New()
	var size counter
	if err := many(files)(io.MultiWriter(h, &size)); err != nil {
		t.Fatal(err)
	}
	id := digest.NewDigest(digest.SHA256, h)
	s := pipelinetest.NewStore()
	held := s.Put(ocispec.MediaTypeImageLayer, nil)
	s.Delete(held.Digest)
	config := s.PutJSON(t, ocispec.MediaTypeImageConfig, map[string]any{"rootfs": map[string]any{"type": "layers", "diff_ids": []string{id.String()}}})
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayer, Digest: id, Size: int64(size)}}}
	m.SchemaVersion = 2
	g := &generated{Source: s.Source(s.PutJSON(t, ocispec.MediaTypeImageManifest, m)), write: many(files)}
	before := heap()
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() {
		most := uint64(0)
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
	r := run(t, g, check.Options{})
	close(stop)
	if used := <-peak; used > before+most {
		t.Errorf("%d MiB are live", (used-before)>>20)
	}
	if len(of(r, "limits"))+len(of(r, "diff-id")) > 0 {
		t.Errorf("told is %s", messages(r))
	}
}

// Of more files than can be remembered, the first are checked, and that is told.
func TestTooManyFilesAreTold(t *testing.T) {
	t.Parallel()
	p := good(t)
	var files []file
	for i := range 12_000 {
		files = append(files, file{Name: fmt.Sprintf("%04d", i) + longName})
	}
	plain := pipelinetest.Tar(t, files...)
	p.layer(ocispec.MediaTypeImageLayer, plain, plain)
	if r := run(t, p.put(t), check.Options{}); len(of(r, "limits")) != 1 || r.Count(check.Error) > 0 {
		t.Errorf("told is %s", messages(r))
	}
}

// heap is what is live.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// longName makes 12,000 names more than is remembered.
var longName = "/" + strings.Repeat("long", 1000)

type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}
