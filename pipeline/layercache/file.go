package layercache

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/filelock"
)

const (
	filePerm, dirPerm = 0o600, 0o700
	// leastRead bounds what is read of a file from below: another program may have
	// had another bound.
	leastRead = 16 << 20
	// lockPatience is how long others may take to write a file of some megabytes.
	lockPatience = 30 * time.Second
)

// file is where a cache is kept.
type file struct {
	path, dir, name string
	most            int64 // bytes that are read
}

func newFile(path string, size int64) file {
	return file{path: path, dir: filepath.Dir(path), name: filepath.Base(path), most: max(leastRead, 2*size)}
}

// explain says which file an error is about.
func (f *file) explain(err error) error {
	var mistake *pipeline.UsageError
	if errors.As(err, &mistake) {
		return err
	}
	return fmt.Errorf("layer cache %s: %w", f.path, plain(err))
}

// plain is an error without the path that explain names.
func plain(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// read returns the file, or a byte more than is read of one; nil where there is
// none. Nobody but its owner and root may be able to write it.
func (f *file) read() ([]byte, error) {
	root, err := os.OpenRoot(f.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return f.readIn(root)
}

func (f *file) readIn(root *os.Root) ([]byte, error) {
	if err := f.checkDir(root); err != nil {
		return nil, err
	}
	in, err := f.open(root)
	if in == nil || err != nil {
		return nil, err
	}
	defer in.Close()
	raw, err := io.ReadAll(io.LimitReader(in, f.most+1))
	if err != nil {
		return nil, err
	}
	if raw == nil {
		raw = []byte{}
	}
	return raw, nil
}

// openAttempts is how often the file is opened before somebody is playing with it:
// each time another program would have to save it at that very moment.
const openAttempts = 100

// open opens the file that was looked at, and no other; nil where there is none.
// A program that saves puts another one in its place: then that is looked at.
func (f *file) open(root *os.Root) (*os.File, error) {
	for range openAttempts {
		named, err := root.Lstat(f.name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if err := f.check(named); err != nil {
			return nil, err
		}
		in, err := root.OpenFile(f.name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		open, err := in.Stat()
		if err == nil && os.SameFile(open, named) {
			return in, nil
		}
		if err := errors.Join(err, in.Close()); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("it changes whenever it is opened")
}

// checkDir refuses a directory in which others may put a file of theirs in place
// of ours. In one as /tmp they cannot.
func (f *file) checkDir(root *os.Root) error {
	info, err := root.Stat(".")
	switch {
	case err != nil:
		return err
	case info.Mode()&fs.ModeSticky == 0 && othersMayWrite(info):
		return pipeline.Usage("the layer cache %s is in a directory that others may write to (mode %04o), so they could put other layers into your images; run: chmod go-w %s", f.path, info.Mode().Perm(), f.dir)
	case info.Mode()&fs.ModeSticky == 0 && !ours(info):
		return pipeline.Usage("the layer cache %s is in a directory of another user, who could put other layers into your images; name a file in a directory of your own", f.path)
	}
	return nil
}

// check refuses a file that others may write to.
func (f *file) check(info fs.FileInfo) error {
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return pipeline.Usage("the layer cache %s is a symbolic link; name the file that it points at", f.path)
	case !info.Mode().IsRegular():
		return pipeline.Usage("the layer cache %s is no regular file; name another one", f.path)
	case othersMayWrite(info):
		return pipeline.Usage("others may write to the layer cache %s (mode %04o), so they could put other layers into your images; run: chmod go-w %s", f.path, info.Mode().Perm(), f.path)
	case !ours(info):
		return pipeline.Usage("the layer cache %s belongs to another user, who could put other layers into your images; name a file of your own", f.path)
	}
	return nil
}

// update locks the file against other programs, shows it to edit, and puts what
// edit returns in its place; nil is no change.
func (f *file) update(ctx context.Context, edit func(raw []byte) ([]byte, error)) error {
	if err := os.MkdirAll(f.dir, dirPerm); err != nil {
		return err
	}
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := f.checkDir(root); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	lock, err := filelock.Wait(ctx, func() (*os.File, bool, error) { return f.tryLock(root) })
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	defer func() { _ = filelock.Unlock(lock) }()
	f.removeDead(root)
	raw, err := f.readIn(root)
	if err != nil {
		return err
	}
	now, err := edit(raw)
	if err != nil || now == nil {
		return err
	}
	return f.replace(root, now)
}

// tryLock takes the lock if it is free. Its file stays, since whoever waits for it
// has it open.
func (f *file) tryLock(root *os.Root) (lock *os.File, got bool, err error) {
	name := f.name + ".lock"
	if info, err := root.Lstat(name); err == nil {
		if err := f.check(info); err != nil {
			return nil, false, fmt.Errorf("%s.lock: %w", f.path, err)
		}
	}
	if lock, err = root.OpenFile(name, os.O_RDWR|os.O_CREATE, filePerm); err != nil {
		return nil, false, err
	}
	if got, err = filelock.Try(lock); !got || err != nil {
		return nil, false, errors.Join(err, lock.Close())
	}
	return lock, true, nil
}

// Temporary files are made while the lock is held, and only then.
func (f *file) temp() string { return "." + f.name + "." + rand.Text() + tempSuffix }

const tempSuffix = ".tmp"

// isTemp says whether temp has made a name. Beside "cache" there may be a "cache.x",
// whose lock is another, and files of the user's.
func (f *file) isTemp(name string) bool {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" // of rand.Text
	text, ok := strings.CutPrefix(name, "."+f.name+".")
	text, suffixed := strings.CutSuffix(text, tempSuffix)
	return ok && suffixed && len(text) >= len(rand.Text()) && strings.Trim(text, alphabet) == ""
}

// removeDead removes what programs have left that were killed.
func (f *file) removeDead(root *os.Root) {
	dir, err := root.Open(".")
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // what is left costs nothing but room
	for _, n := range names {
		if f.isTemp(n) {
			_ = root.Remove(n)
		}
	}
}

// replace puts raw in the file's place, durably: a cache that was there survives a
// power cut.
func (f *file) replace(root *os.Root, raw []byte) error {
	temp := f.temp()
	out, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, filePerm)
	if err != nil {
		return err
	}
	// Who may read it is for the user to say.
	if was, serr := root.Lstat(f.name); serr == nil {
		err = out.Chmod(was.Mode().Perm())
	}
	if err == nil {
		_, err = out.Write(raw)
	}
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err == nil {
		err = root.Rename(temp, f.name)
	}
	if err != nil {
		_ = root.Remove(temp)
	}
	return err
}

// setAside gives the file a further name, the first that is free, and returns it.
// The file itself stays until it is replaced.
func (f *file) setAside() (string, error) {
	for i := 1; ; i++ {
		aside := fmt.Sprintf("%s.damaged-%d", f.path, i)
		if _, err := os.Lstat(aside); err == nil {
			continue
		}
		err := os.Link(f.path, aside)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil { // a file system without links
			err = os.Rename(f.path, aside)
		}
		return aside, err
	}
}
