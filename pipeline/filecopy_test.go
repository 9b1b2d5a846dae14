package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/filecopy"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// fileStore has blobs in files, some of them damaged.
type fileStore struct {
	*pipelinetest.Store
	dir    string
	root   ocispec.Descriptor
	damage func([]byte) []byte
}

func (s *fileStore) Open(_ context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	name := filepath.Join(s.dir, desc.Digest.Encoded())
	if err := os.WriteFile(name, s.damage(s.Bytes(desc.Digest)), 0o600); err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return pipeline.Named(pipeline.Verified(f, desc), "the file"), nil
}

// source moves the image whose blobs are in files.
type fileSource struct{ *fileStore }

func (s fileSource) Open(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	return pipeline.Resolve(ctx, s.fileStore, []pipeline.Root{{Desc: s.root}}, q, pipeline.ResolveOptions{}, nil)
}

// fileSink keeps layers in files, and hands them on when they are complete.
type fileSink struct {
	*pipelinetest.Sink
	dir            string
	flag           int // how files are opened
	none           bool
	written, taken atomic.Int64
}

func (s *fileSink) Layer(ctx context.Context, seq int, l pipeline.Layer) (pipeline.LayerWriter, error) {
	w, err := s.Sink.Layer(ctx, seq, l)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(s.dir, l.Blob.Digest.Encoded()), s.flag|os.O_CREATE, 0o600)
	return &placed{LayerWriter: w, s: s, f: f}, err
}

const placedAt = 512

type placed struct {
	pipeline.LayerWriter
	s *fileSink
	f *os.File
}

func (p *placed) Place() (pipeline.Section, bool) {
	return pipeline.Section{File: p.f, Off: placedAt}, !p.s.none
}

func (p *placed) Placed(n int64) {
	p.s.taken.Add(1)
	if _, err := io.Copy(p.LayerWriter, io.NewSectionReader(p.f, placedAt, n)); err != nil {
		panic(err)
	}
}

func (p *placed) Write(b []byte) (int, error) {
	p.s.written.Add(int64(len(b)))
	return p.LayerWriter.Write(b)
}

func (p *placed) Close() error { return errors.Join(p.LayerWriter.Close(), p.f.Close()) }

func TestLayersGoFromFileToFile(t *testing.T) {
	t.Parallel()
	same := func(b []byte) []byte { return b }
	for name, tc := range map[string]struct {
		damage func([]byte) []byte
		flag   int
		none   bool
		kernel bool // large layers are not written
		fails  bool
	}{
		"by the kernel":           {damage: same, flag: os.O_RDWR, kernel: true},
		"no place":                {damage: same, flag: os.O_RDWR, none: true},
		"a copy that is not read": {damage: same, flag: os.O_WRONLY},
		"a damaged file":          {damage: func(b []byte) []byte { b = bytes.Clone(b); b[len(b)-1] ^= 1; return b }, flag: os.O_RDWR, fails: true},
		"a short file":            {damage: func(b []byte) []byte { return b[:len(b)-1] }, flag: os.O_RDWR, fails: true},
		"a long file":             {damage: func(b []byte) []byte { return append(bytes.Clone(b), 0) }, flag: os.O_RDWR, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := pipelinetest.NewStore()
			large := pipelinetest.Tar(t, pipelinetest.File{Name: "large", Body: string(bytes.Repeat([]byte("0123456789abcdef"), 20<<20/16))})
			small := pipelinetest.Tar(t, pipelinetest.File{Name: "small", Body: "small"})
			src := fileSource{&fileStore{Store: store, dir: t.TempDir(), damage: tc.damage, root: store.Image(t, pipelinetest.Image{Compression: pipeline.Plain, Layers: [][]byte{large, small}})}}
			dst := &fileSink{Sink: pipelinetest.NewSink(), dir: t.TempDir(), flag: tc.flag, none: tc.none}
			_, err := pipeline.Run(t.Context(), src, nil, dst, pipeline.Options{})
			if tc.fails {
				if !errors.Is(err, pipeline.ErrDigest) && !errors.Is(err, io.ErrUnexpectedEOF) || len(dst.Published) > 0 {
					t.Errorf("%v, %d images", err, len(dst.Published))
				}
				return
			}
			if err != nil || len(dst.Published) != 1 {
				t.Fatalf("%v, %d images", err, len(dst.Published))
			}
			wantWritten, wantTaken := int64(len(large)+len(small)), int64(0)
			if tc.kernel && canCopy(t, src.dir, dst.dir) {
				wantWritten, wantTaken = int64(len(small)), 1
			}
			if got := dst.written.Load(); got != wantWritten || dst.taken.Load() != wantTaken {
				t.Errorf("%d bytes were written and %d layers copied; want %d and %d", got, dst.taken.Load(), wantWritten, wantTaken)
			}
		})
	}
}

// canCopy says whether the kernel copies from one folder to the other.
func canCopy(t *testing.T, from, to string) bool {
	t.Helper()
	src, err := os.Create(filepath.Join(from, "probe"))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := os.Create(filepath.Join(to, "probe"))
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	if _, err := src.WriteString("probe"); err != nil {
		t.Fatal(err)
	}
	n, err := filecopy.Range(dst, 0, src, 0, 1)
	return n == 1 && err == nil
}
