// Package staging lets a run prepare all that it writes into a directory, under
// temporary names in that directory, until it is published: files, lists, trees.
//
//	Open ─▶ Create, Write, Unpack (temporary names) ─▶ Lock ─▶ Place, PlaceTree ─▶ Close
//
// What the files mean, and in which order they get their names, is the caller's.
package staging

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"

	"github.com/occystrap/occystrap/pipeline/internal/filelock"
)

// Names and modes.
const (
	// Temporary files of a run are in one directory of its own.
	prefix, suffix = ".occystrap-", ".tmp"
	// FilePerm is that of files, less the umask, as of all that a user asks for.
	FilePerm = 0o666
	// DirPerm is that of directories, less the umask.
	DirPerm = 0o777
)

// A Dir is one run's work in a directory: all it writes has temporary names
// until it is published. Those are in a directory of their own, which is locked
// as long as the run lives, so that the next run can tell what a killed one left,
// and removes it.
type Dir struct {
	// Root is the directory: nothing outside it is reached through it.
	Root *os.Root

	path    string // as the user names it
	name    string // of the directory for temporary files
	alive   *os.File
	created bool // the directory itself was not there before
	next    atomic.Int64
}

// Open opens or makes the directory for writing. The caller closes it.
func Open(ctx context.Context, path string) (*Dir, error) {
	_, err := os.Lstat(path)
	created := errors.Is(err, os.ErrNotExist)
	if err := os.MkdirAll(path, DirPerm); err != nil {
		return nil, notDirectory(path, err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, notDirectory(path, err)
	}
	d := &Dir{Root: root, path: path, created: created, name: prefix + rand.Text() + suffix}
	if err := d.begin(ctx); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return d, nil
}

func notDirectory(path string, err error) error {
	if info, serr := os.Stat(path); serr == nil && !info.IsDir() {
		return errors.New("it is a file; name a directory, or write tar://")
	}
	return Plain(err)
}

// begin makes the directory for temporary files, and removes those that runs
// have left that are no more.
func (d *Dir) begin(ctx context.Context) error {
	unlock, err := d.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	entries, err := Entries(d.Root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() && isTemporary(e.Name()) {
			d.removeDead(e.Name())
		}
	}
	if err := d.Root.Mkdir(d.name, 0o700); err != nil {
		return Plain(err)
	}
	if d.alive, err = d.Root.Open(d.name); err != nil {
		return Plain(err)
	}
	_, err = filelock.Try(d.alive)
	return err
}

func isTemporary(name string) bool {
	return strings.HasPrefix(name, prefix) && strings.HasSuffix(name, suffix)
}

// IsOurs says whether a name in a directory is one that this package makes, and
// not part of what is published.
func IsOurs(name string) bool { return name == lockFile || isTemporary(name) }

// removeDead removes the temporary files of a run that has ended without doing
// so. That it cannot be removed is no failure.
func (d *Dir) removeDead(name string) {
	f, err := d.Root.Open(name)
	if err != nil {
		return
	}
	defer func() { _ = filelock.Unlock(f) }()
	if free, err := filelock.Try(f); err == nil && free {
		_ = d.RemoveTree(name)
	}
}

// Temp is a new temporary name.
func (d *Dir) Temp() string { return fmt.Sprintf("%s/%d", d.name, d.next.Add(1)) }

// Create opens a new temporary file.
func (d *Dir) Create() (*os.File, string, error) {
	name := d.Temp()
	f, err := d.Root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, FilePerm)
	return f, name, Plain(err)
}

// Close removes what has a temporary name still; a directory that was made for
// nothing goes too.
func (d *Dir) Close(published bool) error {
	err := d.RemoveTree(d.name)
	if d.created && !published {
		d.removeEmpty()
	}
	return errors.Join(err, filelock.Unlock(d.alive), d.Root.Close())
}

// removeEmpty removes the directory if nothing but the lock's file is in it and
// no other run is at it.
func (d *Dir) removeEmpty() {
	f, got, err := d.tryDirLock()
	if err != nil || !got {
		return
	}
	defer func() { _ = filelock.Unlock(f) }()
	if entries, err := Entries(d.Root); err == nil && len(entries) == 1 {
		_ = d.Root.Remove(lockFile)
		_ = os.Remove(d.path)
	}
}

// Entries lists what is in the top of a directory.
func Entries(root *os.Root) ([]fs.DirEntry, error) {
	f, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}
