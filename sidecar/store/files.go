package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

const blobsDir = "blobs"

// files are the bytes of all blobs, in the layout of containerd's local content store, as
// far as its metadata databases need them. Blobs arrive by a rename: containerd's own
// writer syncs six times for one, and what it writes cannot be read meanwhile. Two
// databases name the files, so that neither of them may delete one: sweep does.
type files struct {
	content.Store // none: of containerd's methods, those below are ever called
	root          string

	mu       sync.Mutex
	unsynced map[digest.Digest]bool // came without a sync, since the last snapshot
}

func newFiles(dir string) *files {
	return &files{root: filepath.Join(dir, blobsDir), unsynced: map[digest.Digest]bool{}}
}

// Info describes a blob that is in place.
func (f *files) Info(_ context.Context, d digest.Digest) (content.Info, error) {
	info, err := os.Stat(f.path(d))
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("blob %s: %w", d, errdefs.ErrNotFound)
	}
	if err != nil {
		return content.Info{}, err
	}
	return content.Info{Digest: d, Size: info.Size(), CreatedAt: info.ModTime(), UpdatedAt: info.ModTime()}, nil
}

// ReaderAt reads a blob.
func (f *files) ReaderAt(_ context.Context, desc ocispec.Descriptor) (content.ReaderAt, error) {
	return local.OpenReader(f.path(desc.Digest))
}

// Walk shows the garbage collection of a database nothing to delete.
func (*files) Walk(context.Context, content.WalkFunc, ...string) error { return nil }

// Delete leaves the file, which another database may need.
func (*files) Delete(context.Context, digest.Digest) error { return nil }

// ListStatuses has none: uploads are not containerd's.
func (*files) ListStatuses(context.Context, ...string) ([]content.Status, error) { return nil, nil }

// WalkStatusRefs has none either.
func (*files) WalkStatusRefs(context.Context, func(string) error) error { return nil }

// Writer writes nothing: a blob is in place before it is recorded.
func (*files) Writer(context.Context, ...content.WriterOpt) (content.Writer, error) {
	return nil, fmt.Errorf("the blob is not in place: %w", errdefs.ErrNotFound)
}

// path is where a blob is.
func (f *files) path(d digest.Digest) string {
	return filepath.Join(f.root, d.Algorithm().String(), d.Encoded())
}

// open opens a blob.
func (f *files) open(d digest.Digest) (*os.File, error) {
	file, err := os.Open(f.path(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing("blob", d.String())
	}
	return file, err
}

// put moves a file that is whole to its place, and returns how many bytes that adds. One
// that is there already is replaced if the new one was synced: it may be neither synced
// nor sound.
func (f *files) put(from string, d digest.Digest, synced bool) (added int64, err error) {
	to := f.path(d)
	fresh, err := os.Stat(from)
	if err != nil {
		return 0, err
	}
	added = fresh.Size()
	if there, err := os.Stat(to); err == nil {
		if added -= there.Size(); added == 0 && !synced {
			return 0, remove(from)
		}
	}
	if err := os.Rename(from, to); err != nil {
		return 0, full(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if synced {
		delete(f.unsynced, d)
	} else {
		f.unsynced[d] = true
	}
	return added, nil
}

// syncDirs makes the names of blobs last.
func (f *files) syncDirs() error {
	return errors.Join(syncDir(filepath.Join(f.root, "sha256")), syncDir(filepath.Join(f.root, "sha512")))
}

// takeUnsynced returns the blobs that came without a sync, and forgets them.
func (f *files) takeUnsynced() map[digest.Digest]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.unsynced
	f.unsynced = map[digest.Digest]bool{}
	return m
}

// each calls fn for all files below blobs; those that have no digest as their name with
// "".
func (f *files) each(fn func(path string, d digest.Digest, size int64) error) error {
	return filepath.WalkDir(f.root, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return nil //nolint:nilerr // removed meanwhile
		}
		d := digest.NewDigestFromEncoded(digest.Algorithm(filepath.Base(filepath.Dir(path))), e.Name())
		if d.Validate() != nil || f.path(d) != path || !e.Type().IsRegular() {
			d = ""
		}
		return fn(path, d, info.Size())
	})
}

// syncDir makes the names in a directory last; where directories cannot be synced
// (Windows), the file system does it by itself.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, os.ErrPermission) && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, syscall.EINVAL) {
		return full(err)
	}
	return nil
}

// missing is the error for what is not there.
func missing(what, name string) error {
	return fmt.Errorf("%s %s: %w", what, name, pipeline.ErrNotFound)
}

// statusFull is "507 Insufficient Storage" (RFC 4918).
const statusFull = 507

// full explains an error of a disk that is full, to the client as well.
func full(err error) error {
	if err == nil || !isFull(err) {
		return err
	}
	var told *registry.Error
	if errors.As(err, &told) {
		return err
	}
	return errors.Join(&registry.Error{
		Code: "UNKNOWN", Status: statusFull,
		Message: "the disk of the registry's store is full; free space there, or set a lower high mark and run \"occystrap store prune\"",
	}, err)
}
