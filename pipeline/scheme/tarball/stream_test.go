package tarball_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/tarball"
)

// nextLayer pulls one layer.
func nextLayer(t *testing.T, next func() (pipeline.Layer, error, bool)) pipeline.Layer {
	t.Helper()
	l, err, ok := next()
	if err != nil || !ok {
		t.Fatalf("no layer: %v, %v", ok, err)
	}
	return l
}

func TestLayerOfAStreamIsReadWhileItArrives(t *testing.T) {
	t.Parallel()
	i := newImage(t, "early", 2)
	raw := i.oci(t, nil, plain, ocispec.MediaTypeImageLayer, nil)
	r, w := io.Pipe()
	g, err := tarball.OpenStream(t.Context(), r, tarball.Config{TempDir: t.TempDir()}, pipeline.Query{})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	next, stop := iter.Pull2(g.Layers(t.Context()))
	defer stop()
	// The header and half of the first layer: neither its end nor any manifest
	// is there yet.
	const part = 2048
	go func() { _, _ = w.Write(raw[:512+part]) }()
	l := nextLayer(t, next)
	if l.Role != pipeline.Unknown || l.Blob.Digest != i.diffIDs[0] || l.Blob.Size != int64(len(i.layers[0])) {
		t.Fatalf("the first layer is %+v", l.Blob)
	}
	rc, err := l.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	head := make([]byte, part)
	if _, err := io.ReadFull(rc, head); err != nil || !bytes.Equal(head, i.layers[0][:part]) {
		t.Fatalf("its first bytes did not come: %v", err)
	}
	go func() {
		_, _ = w.Write(raw[512+part:])
		w.Close()
	}()
	if _, err := io.Copy(io.Discard, rc); err != nil {
		t.Fatal(err)
	}
	if l := nextLayer(t, next); l.Blob.Digest != i.diffIDs[1] {
		t.Errorf("the second layer is %s", l.Blob.Digest)
	}
	if _, err, ok := next(); ok {
		t.Errorf("a third layer came: %v", err)
	}
	for m, err := range g.Manifests(t.Context()) {
		if err != nil || string(m.Config) != string(i.config) {
			t.Errorf("manifest: %v", err)
		}
	}
}

func TestStreamNeedsNoReaderToGoOn(t *testing.T) {
	t.Parallel()
	i := newImage(t, "nobody reads", 20)
	g, err := tarball.OpenStream(t.Context(), bytes.NewReader(i.dockerSave(t)), tarball.Config{TempDir: t.TempDir()}, pipeline.Query{})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	var layers []pipeline.Layer
	for l, err := range g.Layers(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		layers = append(layers, l)
	}
	for k := len(layers) - 1; k >= 0; k-- { // last first, and again
		for range 2 {
			if d, err := diffID(t.Context(), layers[k]); err != nil || d != i.diffIDs[k] {
				t.Fatalf("layer %d: %s, %v", k, d, err)
			}
		}
	}
}

func TestPlatformChoiceHoldsLayersBackUntilTheyAreWanted(t *testing.T) {
	t.Parallel()
	raw := newImage(t, "amd64", 1).oci(t, nil, gzipped, ocispec.MediaTypeImageLayerGzip, nil)
	want := ocispec.Platform{OS: "linux", Architecture: "amd64"}
	g, err := tarball.OpenStream(t.Context(), bytes.NewReader(raw), tarball.Config{TempDir: t.TempDir()}, pipeline.Query{Platforms: pipeline.Platforms{Want: []ocispec.Platform{want}}})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	got, err := drain(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	for d, role := range got.roles {
		if role != pipeline.FileSystem {
			t.Errorf("layer %s came with role %v before its manifest", d, role)
		}
	}
}

// broken fails after some bytes.
type broken struct {
	io.Reader
	err error
}

func (b *broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = b.err
	}
	return n, err
}

func TestReadersOfABrokenStreamGetItsError(t *testing.T) {
	t.Parallel()
	cut := errors.New("the daemon went away")
	i := newImage(t, "cut", 1)
	raw := i.oci(t, nil, plain, ocispec.MediaTypeImageLayer, nil)
	g, err := tarball.OpenStream(t.Context(), &broken{bytes.NewReader(raw[:2000]), cut}, tarball.Config{TempDir: t.TempDir()}, pipeline.Query{})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	var last error
	for l, err := range g.Layers(t.Context()) {
		if last = err; err == nil {
			if _, err := diffID(t.Context(), l); !errors.Is(err, cut) {
				t.Errorf("the layer gave %v", err)
			}
		}
	}
	if !errors.Is(last, cut) {
		t.Errorf("the list of layers ended with %v", last)
	}
}

func TestCloseEndsAStreamThatStalls(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	defer w.Close()
	temp := t.TempDir()
	g, err := tarball.OpenStream(t.Context(), r, tarball.Config{TempDir: temp}, pipeline.Query{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range g.Layers(ctx) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestStreamIsReadToItsVeryEnd(t *testing.T) {
	t.Parallel()
	raw := newImage(t, "rest", 1).dockerSave(t)
	r := bytes.NewReader(append(raw, make([]byte, 1<<20)...))
	if _, err := take(t.Context(), source(t, "tar://-", tarball.Config{Stdin: r}), pipeline.Query{}); err != nil {
		t.Fatal(err)
	}
	if r.Len() > 0 {
		t.Errorf("%d bytes were left in the pipe, whose writer fails", r.Len())
	}
}

func TestTempDirOfAStreamIsNamedWhenItIsMissing(t *testing.T) {
	t.Parallel()
	_, err := tarball.OpenStream(t.Context(), strings.NewReader(""), tarball.Config{TempDir: t.TempDir() + "/none"}, pipeline.Query{})
	if err == nil || !strings.Contains(err.Error(), "--temp-dir") {
		t.Errorf("got %v", err)
	}
}
