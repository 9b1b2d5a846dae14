package layers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
	"github.com/occystrap/occystrap/plugin/graphdriver"
)

// A Lane reads images from the files of a daemon. The zero value works for who
// may read them: root.
type Lane struct {
	// Lender reads for those who may not; nil for none.
	Lender graphdriver.Lender
}

var (
	_ daemon.Lane   = Lane{}
	_ daemon.Lister = Lane{}
)

// Lists says that the files tell all layers.
func (Lane) Lists() {}

// Name is "layers".
func (Lane) Name() string { return daemon.LaneLayers }

// Fits says whether the daemon has the graph driver, and its files can be read.
func (l Lane) Fits(ctx context.Context, side pipeline.Side, p *daemon.Place) (string, error) {
	if side != pipeline.SourceSide {
		return "", errors.New("it leads out of daemons only: a daemon's files are never written")
	}
	if err := kind(p); err != nil {
		return "", err
	}
	depot, why, err := l.open(ctx, p)
	if err != nil {
		return "", err
	}
	return why, depot.Close()
}

// kind is nil for a daemon that has the graph driver here.
func kind(p *daemon.Place) error {
	switch {
	case p.Podman():
		return errors.New("it is Podman, whose storage has no graph driver of Docker's")
	case p.Store == daemon.StoreContainerd:
		return errors.New("the daemon keeps its images in containerd, not by a graph driver")
	case p.Store != daemon.StoreGraph:
		return errors.New("the daemon does not say how it keeps its images")
	case p.Driver != graphdriver.DriverName:
		return fmt.Errorf("the daemon keeps its images by the graph driver %q; %s alone is read", p.Driver, graphdriver.DriverName)
	case p.Rootless:
		return errors.New("the daemon runs without root: its files are within its user's namespace")
	case p.Root == "":
		return errors.New("the daemon does not say where it keeps its images")
	}
	return p.FilesHere()
}

// open opens the files, or what is lent of them, and says which in a few words.
func (l Lane) open(ctx context.Context, p *daemon.Place) (depot graphdriver.Depot, why string, err error) {
	store, err := graphdriver.Open(p.Root)
	if err == nil {
		return store, "from its files", nil
	}
	if !errors.Is(err, fs.ErrPermission) {
		return nil, "", err
	}
	if l.Lender == nil {
		return nil, "", fmt.Errorf("%s may be read by root only", p.Root)
	}
	if depot, err = l.Lender.Depot(ctx, p.Root); err != nil {
		return nil, "", fmt.Errorf("%s may be read by root only, and the sidecar does not lend it: %w", p.Root, err)
	}
	return depot, "from its files, lent by the sidecar", nil
}

// Source reads the images of t.
func (l Lane) Source(t daemon.Target) pipeline.Source { return &source{lane: l, target: t} }

// Sink is nil: the lane leads out only.
func (Lane) Sink(daemon.Target) pipeline.Sink { return nil }
