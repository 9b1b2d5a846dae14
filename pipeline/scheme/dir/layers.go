package dir

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/codec"
	"github.com/occystrap/occystrap/pipeline/internal/ocilayout"
)

// A layerFile is a layer of the plain layout.
type layerFile struct {
	file string
	desc ocispec.Descriptor // of a plain tar the digest is not known from here
}

// layerTypes are the OCI media types of layers by their compression.
var layerTypes = map[codec.Compression]string{
	codec.Plain: ocispec.MediaTypeImageLayer,
	codec.Gzip:  ocispec.MediaTypeImageLayerGzip,
	codec.Zstd:  ocispec.MediaTypeImageLayerZstd,
}

// layers describes layers by their files. Ours and the Python tool's are plain;
// those of an archive that somebody unpacked here may be compressed, and have to
// be hashed.
func (p *plain) layers(ctx context.Context, names []string) ([]layerFile, error) {
	out := make([]layerFile, len(names))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, n := range names {
		name, err := ocilayout.Within("directory", n)
		if err != nil {
			return nil, errors.Join(err, g.Wait())
		}
		c, size, err := p.sniff(name)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("layer %d: %w; the image is incomplete, save it again", i+1, err), g.Wait())
		}
		out[i] = layerFile{name, ocispec.Descriptor{MediaType: layerTypes[c], Size: size}}
		if out[i].desc.MediaType == "" {
			return nil, errors.Join(fmt.Errorf("layer %s is compressed with %s, which image layers cannot be", name, c), g.Wait())
		}
		if c == codec.Plain {
			continue
		}
		g.Go(func() (err error) {
			out[i].desc.Digest, err = p.hash(gctx, name, digest.SHA256)
			return err
		})
	}
	return out, g.Wait()
}

// sniff tells how a file is compressed, and its size.
func (p *plain) sniff(name string) (codec.Compression, int64, error) {
	f, size, err := p.openFile(name)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	head := make([]byte, codec.PeekSize)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", 0, err
	}
	return codec.Sniff(head[:n]), size, nil
}

// readDiffIDs reads what a config says of the layers.
func readDiffIDs(raw []byte, name string) ([]digest.Digest, error) {
	var c struct {
		RootFS struct {
			DiffIDs []digest.Digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if _, err := pipeline.ParseObject(raw); err != nil {
		return nil, fmt.Errorf("config %s: %w", name, err)
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("config %s: %w", name, err)
	}
	for _, d := range c.RootFS.DiffIDs {
		if err := d.Validate(); err != nil {
			return nil, fmt.Errorf("config %s: diff ID %q: %w", name, d, err)
		}
	}
	return c.RootFS.DiffIDs, nil
}

// rewrittenByPython says whether a config is in the form in which the Python
// tool wrote every config anew, whatever it was: four spaces deep.
func rewrittenByPython(raw []byte) bool { return bytes.HasPrefix(raw, []byte("{\n    \"")) }
