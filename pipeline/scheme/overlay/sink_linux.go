package overlay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/dir"
)

// sink is dir's, with what addition does.
type sink struct {
	plainSink
	add *addition
}

type plainSink interface {
	pipeline.Sink
	pipeline.Limited
	pipeline.Foreseer
}

var _ plainSink = (*sink)(nil)

func newSink(loc pipeline.Location, cfg Config) (pipeline.Sink, error) {
	add := &addition{cfg: cfg}
	s, err := dir.NewSink(loc, dir.Config{Events: cfg.Events, Limits: cfg.Limits}, add)
	if err != nil {
		return nil, err
	}
	plain, ok := s.(plainSink)
	if !ok {
		return nil, errors.New("dir:// does not say what it can hold")
	}
	return &sink{plain, add}, nil
}

// Close discards what was not published: first the mount, then what it is of.
func (s *sink) Close() error {
	return errors.Join(s.add.close(), s.plainSink.Close())
}

// addition unpacks the layers and mounts them.
type addition struct {
	cfg     Config
	w       *dir.Workspace
	mounter *mounter

	image          dir.Image
	kept           bool    // delta holds changes, and stays
	trees          []place // of the layers, the lowest first
	delta, working place
	runtime        []byte   // config.json; nil for none
	mount          *os.File // without a place, until Show
}

var _ dir.Addition = (*addition)(nil)

// A place is a directory with a temporary name, and the name that it will have.
type place struct{ temp, name string }

// Begin refuses what could not be mounted at the end.
func (a *addition) Begin(_ context.Context, w *dir.Workspace) (err error) {
	a.w = w
	if err := errors.Join(a.free(), a.foreign()); err != nil {
		return err
	}
	a.mounter, err = probe(w, a.cfg.ways)
	return err
}

// free refuses a directory where something is mounted or lies already where the
// mount is to be.
func (a *addition) free() error {
	top, err := a.w.Root.Open(".")
	if err != nil {
		return err
	}
	defer top.Close()
	m, err := mountAt(top)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case m.mounted:
		return pipeline.Usage("an image is mounted at %s; take it apart first: occystrap umount %s", mountPoint, a.w.Path())
	}
	names, err := a.list(mountPoint)
	if err == nil && len(names) > 0 {
		err = pipeline.Usage("%s is not empty; name another directory", mountPoint)
	}
	return err
}

// foreign refuses a directory with layers that dir:// has unpacked: they have the
// same names, and are not ours to replace.
func (a *addition) foreign() error {
	trees, err := a.unpacked()
	if err != nil || len(trees) == 0 {
		return err
	}
	if _, err := a.w.Root.Lstat(containerConfig); errors.Is(err, fs.ErrNotExist) {
		return pipeline.Usage("it holds layers that dir://?expand=layers has unpacked; name another directory")
	}
	return nil
}

// list returns the names in a directory; none where there is no such.
func (a *addition) list(name string) ([]string, error) {
	info, err := a.w.Root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", name)
	}
	d, err := a.w.Root.Open(name)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// close lets go of a mount that got no place: with that it is gone.
func (a *addition) close() error {
	if a.mount == nil {
		return nil
	}
	m := a.mount
	a.mount = nil
	return m.Close()
}
