package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/spool"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// A courier is a registry that has everything but one blob: a daemon that is
// asked to push an image to it sends that blob, which goes from the request's
// body to whoever reads the courier.
type courier struct {
	want    ocispec.Descriptor
	tempDir string
	begun   chan struct{} // closed when the blob begins to come

	mu      sync.Mutex
	news    sync.Cond
	upload  string // the one that brings the blob
	size    int64  // of what has come
	pending []byte // what the writer waits to be rid of
	read    time.Time
	file    *spool.File // what came after spill
	at      int64       // where in file the reader is
	ended   bool
	err     error // why there is no more; nil at a good end
}

var (
	_ registry.Blobs   = (*courier)(nil)
	_ registry.Uploads = (*courier)(nil)
	_ io.ReadCloser    = (*courier)(nil)
)

func newCourier(want ocispec.Descriptor, tempDir string) *courier {
	c := &courier{want: want, tempDir: tempDir, begun: make(chan struct{}), read: time.Now()}
	c.news.L = &c.mu
	return c
}

func (c *courier) backend() registry.Backend {
	return registry.Backend{Blobs: c, Uploads: c, Manifests: nothingElse{}, Tags: noTags{}, Sparse: true}
}

// Stat says that the other blobs are here.
func (c *courier) Stat(_ context.Context, _ string, d digest.Digest) (int64, error) {
	if d == c.want.Digest {
		return 0, pipeline.ErrNotFound
	}
	return 0, nil
}

// Open has nothing to give.
func (*courier) Open(context.Context, string, digest.Digest, int64) (io.ReadCloser, error) {
	return nil, pipeline.ErrNotFound
}

// Mount has the blob sent.
func (*courier) Mount(context.Context, string, string, digest.Digest) error {
	return pipeline.ErrNotFound
}

// Delete is not for a push.
func (*courier) Delete(context.Context, string, digest.Digest) error { return errors.ErrUnsupported }

// Begin lets the blob come: once, since what was read cannot be taken back.
func (c *courier) Begin(_ context.Context, _, id string) (registry.Upload, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.upload != "" || c.ended {
		return nil, errEnough
	}
	c.upload = id
	close(c.begun)
	return &parcel{c}, nil
}

// Resume goes on with it.
func (c *courier) Resume(_ context.Context, _, id string) (registry.Upload, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id != c.upload {
		return nil, pipeline.ErrNotFound
	}
	return &parcel{c}, nil
}

// Cancel ends it: the bytes were others than promised, or too few.
func (c *courier) Cancel(context.Context, string, string) error {
	c.end(fmt.Errorf("blob %s: %w: the daemon sent other bytes", c.want.Digest, pipeline.ErrDigest))
	return nil
}

// A parcel is the upload of a courier's blob.
type parcel struct{ c *courier }

// Write waits until all of p was read, or put aside.
func (p *parcel) Write(b []byte) (int, error) {
	c := p.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size+int64(len(b)) > c.want.Size {
		return 0, &registry.Error{Code: registry.SizeInvalid, Message: "the blob has more bytes than its descriptor says"}
	}
	c.size += int64(len(b))
	c.pending = b
	c.news.Broadcast()
	for len(c.pending) > 0 && !c.ended {
		if c.file == nil {
			c.news.Wait()
			continue
		}
		_, err := c.file.Write(c.pending)
		c.pending = nil
		if err != nil {
			c.fail(spool.Explain(c.tempDir, err))
			return 0, err
		}
		c.news.Broadcast()
	}
	c.pending = nil
	if c.ended {
		return 0, errEnough
	}
	return len(b), nil
}

// Size is how much has come.
func (p *parcel) Size() int64 {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	return p.c.size
}

// Open cannot be: what was read is gone.
func (*parcel) Open(context.Context) (io.ReadCloser, error) { return nil, errors.ErrUnsupported }

// Commit ends the blob. The Handler has verified the digest.
func (p *parcel) Commit(_ context.Context, d digest.Digest) error {
	c := p.c
	err := error(nil)
	if size := p.Size(); d != c.want.Digest || size != c.want.Size {
		err = fmt.Errorf("blob %s: %w: the daemon sent %s, of %d bytes", c.want.Digest, pipeline.ErrDigest, d, size)
	}
	c.end(err)
	return err
}

// Close keeps what has come.
func (*parcel) Close() error { return nil }

// end says that no more will come. The first end counts.
func (c *courier) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail(err)
}

// fail is end with the lock held.
func (c *courier) fail(err error) {
	if !c.ended {
		c.ended, c.err = true, err
		c.news.Broadcast()
	}
}

// Read gives what comes, as it comes.
func (c *courier) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		c.read = time.Now()
		switch {
		case c.file != nil && c.at < c.file.Size():
			n, err := c.file.ReadAt(p[:min(int64(len(p)), c.file.Size()-c.at)], c.at)
			c.at += int64(n)
			return n, err
		case len(c.pending) > 0 && c.file == nil:
			n := copy(p, c.pending)
			if c.pending = c.pending[n:]; len(c.pending) == 0 {
				c.news.Broadcast()
			}
			return n, nil
		case c.ended && c.err != nil:
			return 0, c.err
		case c.ended:
			return 0, io.EOF
		}
		c.news.Wait()
	}
}

// spill puts aside what comes from now on, if nobody has read for a while: the
// daemon sends a few blobs at a time, of all its pushes, and this one is in the
// way of another.
func (c *courier) spill(idle time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file != nil || c.ended || len(c.pending) == 0 || time.Since(c.read) < idle {
		return
	}
	f, err := spool.New(c.tempDir)
	if err != nil {
		c.fail(err)
		return
	}
	c.file = f
	c.news.Broadcast()
}

// Close ends the courier, whatever has come.
func (c *courier) Close() error {
	c.end(errEnough)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file != nil {
		return c.file.Close()
	}
	return nil
}

// errEnough refuses what a push would send besides: so it never ends well, and
// the daemon does not note down that we have the image.
var errEnough = &registry.Error{Code: registry.Denied, Message: "occystrap has what it wanted of this image; nothing is wrong"}

// nothingElse takes no manifests.
type nothingElse struct{}

var (
	_ registry.Manifests = nothingElse{}
	_ registry.Tags      = noTags{}
)

// Stat finds none.
func (nothingElse) Stat(context.Context, string, registry.Ref) (ocispec.Descriptor, error) {
	return ocispec.Descriptor{}, pipeline.ErrNotFound
}

// Get finds none.
func (nothingElse) Get(context.Context, string, registry.Ref) (ocispec.Descriptor, []byte, error) {
	return ocispec.Descriptor{}, nil, pipeline.ErrNotFound
}

// Put refuses.
func (nothingElse) Put(context.Context, string, registry.Manifest, []string) error { return errEnough }

// Delete refuses.
func (nothingElse) Delete(context.Context, string, digest.Digest) error {
	return errors.ErrUnsupported
}

// noTags has no tags.
type noTags struct{}

// Delete refuses.
func (noTags) Delete(context.Context, string, string) error { return errors.ErrUnsupported }

// List lists none.
func (noTags) List(context.Context, string, string, int) ([]string, error) { return nil, nil }
