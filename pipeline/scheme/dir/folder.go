package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/staging"
)

// bufferSize is how much is hashed at once.
const bufferSize = 256 << 10

// A folder is an open directory: nothing outside it is reached through it.
type folder struct {
	root   *os.Root
	what   string // names it in messages
	limits pipeline.Limits
}

// openFile opens a regular file. A pipe that lies where a blob should would
// block for ever: it is refused.
func (f *folder) openFile(name string) (*os.File, int64, error) {
	file, err := f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, staging.Plain(err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("%s: %w", name, err), file.Close())
	}
	return file, info.Size(), nil
}

// read returns a whole file that holds JSON, within the limit.
func (f *folder) read(name string) ([]byte, error) {
	file, size, err := f.openFile(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := f.limits.CheckManifest(name, size); err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(file, f.limits.WithDefaults().Manifest))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return raw, nil
}

// size is that of a regular file; -1 where there is none.
func (f *folder) size(name string) (int64, error) {
	info, err := f.root.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return -1, nil
	case err != nil:
		return -1, staging.Plain(err)
	case !info.Mode().IsRegular():
		return -1, nil
	}
	return info.Size(), nil
}

// verified opens a file that has to be the blob desc.
func (f *folder) verified(name string, desc ocispec.Descriptor) (io.ReadCloser, error) {
	file, size, err := f.openFile(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.what, err)
	}
	if desc.Size <= 0 {
		desc.Size = size
	}
	return pipeline.Named(pipeline.Verified(file, desc), f.what+": "+name), nil
}

// hash computes a file's digest.
func (f *folder) hash(ctx context.Context, name string, a digest.Algorithm) (digest.Digest, error) {
	file, _, err := f.openFile(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	h := a.Digester()
	if _, err := io.CopyBuffer(h.Hash(), struct{ io.Reader }{&patient{ctx, file}}, make([]byte, bufferSize)); err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	return h.Digest(), nil
}

// patient stops reading when the context ends.
type patient struct {
	ctx context.Context //nolint:containedctx // io.Reader has none
	r   io.Reader
}

func (p *patient) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	return p.r.Read(b)
}
