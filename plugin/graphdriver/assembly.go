package graphdriver

import (
	"errors"
	"fmt"
	"io"
)

// An assembly reads a layer's tar: the stretches of tar-split, and contents from
// the tree between them.
type assembly struct {
	split *split
	tree  *tree

	stretch []byte // of the tar, still to be given out
	file    file   // open while left > 0
	left    int64  // of the file's content
	name    string // of the file
}

// Read fills p, unless the layer ends.
func (a *assembly) Read(p []byte) (n int, err error) {
	for n < len(p) {
		switch {
		case len(a.stretch) > 0:
			c := copy(p[n:], a.stretch)
			a.stretch = a.stretch[c:]
			n += c
		case a.left > 0:
			c, err := a.fromFile(p[n:])
			n += c
			if err != nil {
				return n, err
			}
		default:
			if err := a.next(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// next goes on to what follows in tar-split.
func (a *assembly) next() error {
	e, err := a.split.next()
	if err != nil {
		return err
	}
	if !e.file {
		a.stretch, err = e.bytes()
		return err
	}
	if e.size == 0 { // directories, links, devices
		return nil
	}
	return a.start(e)
}

// start opens a file.
func (a *assembly) start(e entry) error {
	f, size, err := a.tree.open(e.name)
	if err != nil {
		return fmt.Errorf("open %q: %w", e.name, err)
	}
	if size != e.size {
		f.close()
		return fmt.Errorf("%q has %d bytes, and had %d when the layer was stored: %w", e.name, size, e.size, errDamaged)
	}
	a.file, a.left, a.name = f, e.size, e.name
	return nil
}

// fromFile reads on in the file, and closes it at the end.
func (a *assembly) fromFile(p []byte) (int, error) {
	n, err := a.file.read(p[:min(int64(len(p)), a.left)])
	a.left -= int64(n)
	if n == 0 && (err == nil || errors.Is(err, io.EOF)) {
		err = fmt.Errorf("it ends %d bytes early: %w", a.left, errDamaged)
	}
	if a.left == 0 || err != nil {
		a.file.close()
		a.left = 0
	}
	if err != nil {
		return n, fmt.Errorf("read %q: %w", a.name, err)
	}
	return n, nil
}

// Close closes what is open.
func (a *assembly) Close() error {
	if a.left > 0 {
		a.file.close()
		a.left = 0
	}
	return errors.Join(a.split.Close(), a.tree.Close())
}
