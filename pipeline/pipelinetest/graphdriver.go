package pipelinetest

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"
)

// A GraphDriver is a folder as Docker keeps images in by its overlay2 graph
// driver: what docker info calls its root.
type GraphDriver struct{ Root string }

// NewGraphDriver makes a store without images.
func NewGraphDriver(t testing.TB) *GraphDriver {
	t.Helper()
	g := &GraphDriver{Root: t.TempDir()}
	for _, dir := range []string{"image/overlay2/imagedb/content/sha256", "image/overlay2/layerdb/sha256", "overlay2"} {
		g.must(t, os.MkdirAll(filepath.Join(g.Root, dir), 0o700))
	}
	return g
}

// Image stores an image of plain layers, the lowest first, and returns its ID.
func (g *GraphDriver) Image(t testing.TB, layers ...[]byte) digest.Digest {
	t.Helper()
	diffIDs := make([]digest.Digest, len(layers))
	var chain digest.Digest
	for i, l := range layers {
		diffIDs[i] = digest.FromBytes(l)
		parent := chain
		if chain = diffIDs[i]; parent != "" {
			chain = digest.FromString(parent.String() + " " + diffIDs[i].String())
		}
		g.layer(t, parent, chain, l)
	}
	config, err := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	})
	g.must(t, err)
	id := digest.FromBytes(config)
	g.must(t, os.WriteFile(g.Config(id), config, 0o600))
	return id
}

// Config is the file of an image's config.
func (g *GraphDriver) Config(id digest.Digest) string {
	return filepath.Join(g.Root, "image/overlay2/imagedb/content/sha256", id.Encoded())
}

// Database is the folder of what Docker knows of a layer, by its chain ID.
func (g *GraphDriver) Database(chain digest.Digest) string {
	return filepath.Join(g.Root, "image/overlay2/layerdb/sha256", chain.Encoded())
}

// Contents is the folder that a layer is unpacked in, by its chain ID.
func (g *GraphDriver) Contents(chain digest.Digest) string {
	return filepath.Join(g.Root, "overlay2", cacheID(chain), "diff")
}

// cacheID is some name: Docker's are by chance.
func cacheID(chain digest.Digest) string {
	return digest.FromString("cache of " + chain.String()).Encoded()
}

func (g *GraphDriver) layer(t testing.TB, parent, chain digest.Digest, layer []byte) {
	t.Helper()
	g.must(t, os.MkdirAll(g.Database(chain), 0o700))
	g.must(t, os.MkdirAll(g.Contents(chain), 0o755)) //nolint:gosec // as Docker does
	var split bytes.Buffer
	gz := gzip.NewWriter(&split)
	in, done, err := asm.NewInputTarStreamWithDone(bytes.NewReader(layer), storage.NewJSONPacker(gz), storage.NewDiscardFilePutter())
	g.must(t, err)
	size := g.unpack(t, in, g.Contents(chain))
	g.must(t, errors.Join(in.Close(), <-done))
	g.must(t, gz.Close())
	words := map[string]string{"diff": digest.FromBytes(layer).String(), "cache-id": cacheID(chain), "size": strconv.FormatInt(size, 10), "tar-split.json.gz": split.String()}
	if parent != "" {
		words["parent"] = parent.String()
	}
	for name, word := range words {
		g.must(t, os.WriteFile(filepath.Join(g.Database(chain), name), []byte(word), 0o600))
	}
}

// unpack reads all of a layer, and puts its directories, files and symbolic links
// into a folder. It is for layers that mean no harm.
func (g *GraphDriver) unpack(t testing.TB, layer io.Reader, folder string) (size int64) {
	t.Helper()
	for r := tar.NewReader(layer); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		g.must(t, err)
		at := filepath.Join(folder, filepath.Join("/", h.Name)) //nolint:gosec // it stays in the folder
		g.must(t, os.MkdirAll(filepath.Dir(at), 0o755))         //nolint:gosec // as Docker does
		switch h.Typeflag {
		case tar.TypeDir:
			g.must(t, os.MkdirAll(at, 0o755)) //nolint:gosec // as Docker does
		case tar.TypeSymlink:
			g.must(t, os.Symlink(h.Linkname, at))
		case tar.TypeReg:
			f, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
			g.must(t, err)
			n, err := io.Copy(f, r) //nolint:gosec // a test's
			g.must(t, errors.Join(err, f.Close()))
			size += n
		}
	}
	_, err := io.Copy(io.Discard, layer) // the padding behind the last entry
	g.must(t, err)
	return size
}

func (g *GraphDriver) must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
