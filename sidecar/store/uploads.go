package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/occystrap/occystrap/pipeline/registry"
)

const (
	uploadsDir = "uploads"
	// manifestPrefix is that of a manifest that is being put, which nobody resumes.
	manifestPrefix = "put-"
	pendingAge     = 24 * time.Hour
)

var _ registry.Uploads = spaceUploads{}

// uploads are the blobs that arrive: one file for each, whose name tells place and
// upload, and which alone is what is known of it. So they go on after a restart.
type uploads struct {
	dir string

	mu   sync.Mutex
	open map[string]*arriving
	// last is when an upload was last used in this process.
	last map[string]time.Time
}

func newUploads(dir string) *uploads {
	return &uploads{dir: dir, open: map[string]*arriving{}, last: map[string]time.Time{}}
}

// uploadName is the file's name. The id comes from a path of a request.
func uploadName(p place, id string) string {
	sum := sha256.Sum256([]byte(id))
	return p.namespace() + "-" + hex.EncodeToString(sum[:16])
}

// take opens an upload; fresh makes it.
func (u *uploads) take(name string, fresh bool) (*arriving, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.last[name] = time.Now()
	if a := u.open[name]; a != nil && !fresh {
		a.users++
		return a, nil
	}
	flags := os.O_RDWR
	if fresh {
		flags |= os.O_CREATE | os.O_TRUNC
		if old := u.open[name]; old != nil {
			u.drop(name, old)
		}
	}
	f, err := os.OpenFile(filepath.Join(u.dir, name), flags, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		delete(u.last, name)
		return nil, missing("upload", name)
	}
	if err != nil {
		return nil, full(err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	a := &arriving{all: u, name: name, f: f, users: 1}
	a.size.Store(info.Size())
	u.open[name] = a
	return a, nil
}

// release ends one use of an upload, which stays.
func (u *uploads) release(a *arriving) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last[a.name] = time.Now(); u.open[a.name] != a {
		delete(u.last, a.name)
	}
	if a.users--; a.users > 0 {
		return nil
	}
	if u.open[a.name] == a {
		delete(u.open, a.name)
	}
	return a.f.Close()
}

// drop has an upload end for all that use it. The caller holds mu.
func (u *uploads) drop(name string, a *arriving) {
	a.ended.Store(true)
	delete(u.open, name)
	delete(u.last, name)
}

// cancel forgets an upload.
func (u *uploads) cancel(name string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if a := u.open[name]; a != nil {
		u.drop(name, a)
	}
	delete(u.last, name)
	err := os.Remove(filepath.Join(u.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return missing("upload", name)
	}
	return err
}

// close ends all uses; the files stay.
func (u *uploads) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for name, a := range u.open {
		u.drop(name, a)
	}
}

// abandoned gives up what nobody has written to for age, by the store's clock and by
// this process's, and says how many bytes are left in all uploads, and how many were
// given up.
func (u *uploads) abandoned(now time.Time, age time.Duration) (left int64, gone int, err error) {
	entries, err := os.ReadDir(u.dir)
	if err != nil {
		return 0, 0, err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // it ended meanwhile
		}
		removed, err := u.giveUp(e.Name(), info.ModTime(), now, age)
		if err != nil {
			return left, gone, err
		}
		if removed {
			gone++
		} else {
			left += info.Size()
		}
	}
	return left, gone, nil
}

// bytes is what the uploads have on disk; what cannot be read counts as nothing.
func (u *uploads) bytes() (total int64) {
	entries, _ := os.ReadDir(u.dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			total += info.Size()
		}
	}
	return total
}

func (u *uploads) giveUp(name string, written, now time.Time, age time.Duration) (bool, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	used, known := u.last[name]
	if u.open[name] != nil || known && time.Since(used) < age || now.Sub(written) < age {
		return false, nil
	}
	delete(u.last, name)
	return true, remove(filepath.Join(u.dir, name))
}

// forgetAll removes all uploads whose names begin so: "" after a power failure.
func (u *uploads) forgetAll(prefix string) error {
	entries, err := os.ReadDir(u.dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			err = errors.Join(err, remove(filepath.Join(u.dir, e.Name())))
		}
	}
	return err
}

// spaceUploads are the uploads of a space.
type spaceUploads struct{ sp *Space }

// Begin starts an upload.
func (u spaceUploads) Begin(_ context.Context, repository, id string) (registry.Upload, error) {
	return u.take(repository, id, true)
}

// Resume returns an upload that goes on, also after a restart.
func (u spaceUploads) Resume(_ context.Context, repository, id string) (registry.Upload, error) {
	return u.take(repository, id, false)
}

func (u spaceUploads) take(repository, id string, fresh bool) (registry.Upload, error) {
	if u.sp.s.closed.Load() {
		return nil, errClosed
	}
	a, err := u.sp.s.uploads.take(uploadName(u.sp.place(repository), id), fresh)
	if err != nil {
		return nil, fmt.Errorf("upload %s: %w", id, err)
	}
	return &upload{sp: u.sp, repository: repository, a: a}, nil
}

// Cancel forgets an upload.
func (u spaceUploads) Cancel(_ context.Context, repository, id string) error {
	if err := u.sp.s.uploads.cancel(uploadName(u.sp.place(repository), id)); err != nil {
		return fmt.Errorf("upload %s: %w", id, err)
	}
	return nil
}

// isUpload says whether a file has the name of an upload.
func isUpload(name string) bool {
	ns, id, ok := strings.Cut(name, "-")
	_, badNS := hex.DecodeString(strings.TrimPrefix(ns, "r"))
	_, badID := hex.DecodeString(id)
	return ok && strings.HasPrefix(ns, "r") && badNS == nil && badID == nil && len(id) == 32
}
