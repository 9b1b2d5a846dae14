package content

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
)

// A Lender lends blobs of containerd's content stores to users who may not read
// them themselves: the sidecar.
type Lender interface {
	// Lends says whether it may be asked for images of a namespace; the error is a
	// reason for people.
	Lends(ctx context.Context, namespace string) error
	// Blob returns a file, to be read only, with a blob that an image reaches. The
	// caller closes it and checks the digest. pipeline.ErrNotFound: it is not there.
	Blob(ctx context.Context, namespace string, image, blob digest.Digest) (*os.File, error)
}

// LaneConfig says what the lane content may use. The zero value works.
type LaneConfig struct {
	// Lender is asked where containerd's socket is not for this user; nil: there is
	// none.
	Lender Lender
	// Limits bound what a layer may cost that is unpacked here.
	Limits pipeline.Limits
}

// Lane is the way out of and into a Docker that keeps its images in containerd: no
// byte of them passes the daemon.
func Lane(cfg LaneConfig) daemon.Lane { return lane{cfg} }

type lane struct{ cfg LaneConfig }

var _ daemon.Lister = lane{}

// Lists: the manifests tell all layers.
func (lane) Lists() {}

// Name is "content".
func (lane) Name() string { return daemon.LaneContent }

// Fits says whether the daemon's containerd may be used by this user, or a sidecar
// lends its blobs.
func (l lane) Fits(ctx context.Context, side pipeline.Side, p *daemon.Place) (string, error) {
	if p.Store != daemon.StoreContainerd {
		return "", errors.New("the daemon does not keep its images in containerd")
	}
	if p.FilesAway != "" {
		return "", errors.New(p.FilesAway)
	}
	at, err := placeOf(p)
	if err != nil {
		return "", err
	}
	st, err := at.connect(ctx)
	if err == nil {
		defer st.cli.Close()
		switch {
		case side == pipeline.SinkSide && os.Geteuid() == 0:
			return "as root, into its content store and snapshots", nil
		case side == pipeline.SinkSide:
			return "through containerd's socket", nil
		case st.files(ctx) != "":
			return "from the files of its content store", nil
		}
		return "through containerd's socket", nil
	}
	if side == pipeline.SinkSide || !errors.Is(err, fs.ErrPermission) {
		return "", err
	}
	if l.cfg.Lender == nil {
		return "", err
	}
	if lerr := l.cfg.Lender.Lends(ctx, at.namespace); lerr != nil {
		return "", fmt.Errorf("%w; %w", err, lerr)
	}
	return "from its content store, lent by the sidecar", nil
}

// placeOf is the containerd of a daemon.
func placeOf(p *daemon.Place) (place, error) {
	if p.Containerd == "" || p.Namespace == "" {
		return place{}, fmt.Errorf("the daemon (API %s) does not say where its containerd is; Docker 27 and newer do", p.API)
	}
	return Config{}.place(p.Containerd, p.Namespace)
}

// Source reads the images of t.
func (l lane) Source(t daemon.Target) pipeline.Source { return &laneSource{l.cfg, t} }

// Sink writes images into the daemon of t.
func (l lane) Sink(t daemon.Target) pipeline.Sink {
	at, err := placeOf(t.Place)
	s := &sink{at: at, absent: err, unpack: true, snapshotter: t.Place.Driver, recompress: t.Recompress, limits: l.cfg.Limits, events: t.Events}
	s.namer = dockerNames{t.Place}
	if len(t.Images) > 0 {
		s.name = t.Images[0].Name
	}
	return s
}

// A laneSource is images of a daemon, from its content store.
type laneSource struct {
	cfg    LaneConfig
	target daemon.Target
}

var _ pipeline.Source = (*laneSource)(nil)

// Open asks the daemon what its names mean, and keeps what they reach until the
// graph is closed.
func (s *laneSource) Open(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	at, err := placeOf(s.target.Place)
	if err != nil {
		return nil, daemon.Unfit(err)
	}
	roots, err := s.roots(ctx)
	if err != nil {
		return nil, err
	}
	q.Capacity.OneName = q.Capacity.OneName && len(s.target.Images) > 1 // of one image, layers may come at once
	st, err := at.connect(ctx)
	if errors.Is(err, fs.ErrPermission) && s.cfg.Lender != nil {
		return lent(ctx, at.namespace, s.cfg.Lender, roots, q)
	}
	if err != nil {
		return nil, daemon.Unfit(err)
	}
	g, err := st.graph(ctx, roots, q, asItIs)
	if err != nil {
		return nil, errors.Join(err, st.close(false)) //nolint:contextcheck // it tidies up after a run that was cancelled, too
	}
	return g, nil
}

// roots are what the names mean to the daemon.
func (s *laneSource) roots(ctx context.Context) (roots []pipeline.Root, err error) {
	for _, ref := range s.target.Images {
		found, err := s.target.Place.Find(ctx, ref)
		if err != nil {
			return nil, err
		}
		if found.Root == nil {
			return nil, daemon.Unfit(fmt.Errorf("the daemon (API %s) does not say what %s is in its content store; Docker 28 and newer do", s.target.Place.API, ref))
		}
		roots = append(roots, pipeline.Root{Desc: *found.Root, Names: found.Names})
	}
	return roots, nil
}
