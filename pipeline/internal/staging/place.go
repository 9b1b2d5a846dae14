package staging

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"github.com/occystrap/occystrap/pipeline/internal/rootfs"
)

// Write puts a whole small file under its name, durably: a list that was there
// must survive a power cut.
func (d *Dir) Write(name string, raw []byte) error {
	temp, err := d.WriteTemp(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", name, Cause(err))
	}
	return d.Place(temp, name)
}

// WriteTemp does the same under a temporary name.
func (d *Dir) WriteTemp(raw []byte) (temp string, err error) {
	f, temp, err := d.Create()
	if err != nil {
		return "", err
	}
	_, err = f.Write(raw)
	if err == nil {
		err = f.Sync()
	}
	return temp, errors.Join(err, f.Close())
}

// JSON is v as people read it, with names as they are.
func JSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "    ")
	err := e.Encode(v)
	return b.Bytes(), err
}

// Place moves a finished file to its name; the directories above it are made.
func (d *Dir) Place(from, to string) error {
	if dir := path.Dir(to); dir != "." {
		if err := d.Root.MkdirAll(dir, DirPerm); err != nil {
			return Plain(err)
		}
	}
	return Plain(d.Root.Rename(from, to))
}

// PlaceTree gives a finished tree its name, in place of the one that has it:
// that one goes aside for a moment, and is removed by Close.
func (d *Dir) PlaceTree(from, to string) error {
	if err := d.Move(to, d.Temp()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Plain(err)
	}
	return Plain(d.Move(from, to))
}

// Move renames a file or a directory, also one that its own mode protects from
// this user, but none in which something is mounted.
func (d *Dir) Move(from, to string) error {
	info, err := d.Root.Lstat(from)
	if err == nil && info.IsDir() {
		err = d.unmounted(from)
	}
	if err != nil {
		return err
	}
	if info.Mode()&0o200 != 0 || !info.IsDir() {
		return d.Root.Rename(from, to)
	}
	if err := d.Root.Chmod(from, 0o700); err != nil {
		return err
	}
	if err := d.Root.Rename(from, to); err != nil {
		return err
	}
	return d.Root.Chmod(to, info.Mode())
}

// RemoveTree removes a directory and all below it, also what its own modes
// protect from this user. What is not there is no error.
func (d *Dir) RemoveTree(name string) error {
	top, err := d.Root.Open(".")
	if err != nil {
		return err
	}
	defer top.Close()
	return rootfs.RemoveAll(top, name)
}

// Unpack makes a tree under a temporary name: fill applies the layers. What the
// user should know was left out comes back with it.
func (d *Dir) Unpack(opts rootfs.Options, fill func(*rootfs.Tree) error) (temp, leftOut string, err error) {
	temp = d.Temp()
	if err := d.Root.Mkdir(temp, 0o700); err != nil {
		return "", "", Plain(err)
	}
	top, err := d.Root.Open(temp)
	if err != nil {
		return "", "", Plain(err)
	}
	defer top.Close()
	tree, err := rootfs.New(top, opts)
	if err != nil {
		return "", "", err
	}
	defer tree.Close()
	if err := fill(tree); err != nil {
		return "", "", err
	}
	left, err := tree.Finish()
	if err != nil {
		return "", "", err
	}
	return temp, left.String(), nil
}

// Cause is an error of the system without the file it is about: a temporary name
// says nothing to the user.
func Cause(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// Plain leaves the system call and the path out of an error: who calls says
// which file the user should look at.
func Plain(err error) error {
	var pe *os.PathError
	var le *os.LinkError
	switch {
	case errors.As(err, &pe):
		return fmt.Errorf("%s: %w", pe.Path, pe.Err)
	case errors.As(err, &le):
		return fmt.Errorf("%s: %w", le.New, le.Err)
	}
	return err
}
