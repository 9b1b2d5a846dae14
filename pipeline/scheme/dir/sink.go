package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/ocilayout"
	"github.com/occystrap/occystrap/pipeline/internal/staging"
)

// sink writes images into a directory. Layers have temporary names until
// Publish moves them to theirs; then, with the directory locked, the lists are
// brought up to date, the catalog or index last.
type sink struct {
	recompress pipeline.Recompress
	path       string
	oci        bool
	unique     bool // a manifest file for each image
	expand     bool
	each       bool // expand each layer by itself, too
	add        Addition
	one        bool // there is room for one image
	cfg        Config

	foresees bool // the directory is looked at, and stays as it is
	open     sync.Once
	opened   error
	session  *session // nil while there is no directory to look at

	mu        sync.Mutex
	layers    map[digest.Digest]string // temporary files of layers that came
	held      map[digest.Digest]*checked
	manifests []pipeline.Manifest
	published bool
	trees     map[digest.Digest]string // temporary names of unpacked layers
	said      bool                     // what an unpacked tree lacks
}

// checked is whether a blob that lies in the directory is what it should be.
type checked struct {
	once sync.Once
	ok   bool
	err  error
}

// expandLayers is the value of ?expand= that unpacks each layer, too.
const expandLayers = "layers"

var (
	_ pipeline.Sink    = (*sink)(nil)
	_ pipeline.Limited = (*sink)(nil)

	_ pipeline.Foreseer = (*sink)(nil)
)

func newSink(loc pipeline.Location, cfg Config, add Addition) (*sink, error) {
	path, f, err := place(loc)
	if err != nil {
		return nil, err
	}
	s := &sink{path: path, oci: f == formatOCI, cfg: cfg, add: add, layers: map[digest.Digest]string{}, trees: map[digest.Digest]string{}, held: map[digest.Digest]*checked{}}
	if s.recompress, err = loc.Recompress(); err != nil {
		return nil, err
	}
	if s.unique, _, err = loc.Bool("unique_names"); err != nil {
		return nil, err
	}
	if loc.Query["expand"] == expandLayers {
		s.expand, s.each = true, true
	} else if s.expand, _, err = loc.Bool("expand"); err != nil {
		return nil, err
	}
	if s.oci && (s.unique || s.expand) {
		return nil, pipeline.Usage("dir:// options unique_names and expand are for the plain layout; leave format=oci out")
	}
	s.one = s.expand && !s.unique
	return s, nil
}

// begin opens the directory, once.
func (s *sink) begin(ctx context.Context) error {
	s.open.Do(func() {
		if s.foresees {
			s.opened = s.explain(s.look())
			return
		}
		if s.session, s.opened = openSession(ctx, s.path, s.cfg.Limits); s.opened == nil {
			s.opened = s.fits()
		}
		if s.opened == nil {
			s.opened = s.add.Begin(ctx, &Workspace{s.session.Dir, s})
		}
		s.opened = s.explain(s.opened)
	})
	return s.opened
}

// Foresee makes the sink look at the directory, if there is one, and nothing else.
func (s *sink) Foresee() { s.foresees = true }

// look opens the directory for reading.
func (s *sink) look() error {
	root, err := os.OpenRoot(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return staging.Plain(err)
	}
	s.session = &session{folder: &folder{root: root, what: s.path, limits: s.cfg.Limits}}
	return s.fits()
}

// fits refuses to mix both layouts in one directory.
func (s *sink) fits() error {
	have, err := s.session.format()
	switch {
	case err != nil:
		return err
	case s.oci && have == formatPlain:
		return pipeline.Usage("it holds images in the plain layout; leave format=oci out, or name another directory")
	case !s.oci && have == formatOCI:
		return pipeline.Usage("it is an OCI layout; write dir://DIR?format=oci, or name another directory")
	}
	if s.each && s.session.exists(mountedConfig) {
		return pipeline.Usage("its layers are unpacked for mounts://; name another directory for expand=layers")
	}
	return nil
}

// mountedConfig is in directories of mounts://, whose unpacked layers have the
// names of those of expand=layers, and are not the same.
const mountedConfig = "container-config.json"

// exists says whether there is anything of that name.
func (f *folder) exists(name string) bool {
	_, err := f.root.Lstat(name)
	return err == nil
}

// Capacity is everything for a layout. The plain layout has no indexes, and a
// file system that is unpacked under one name is that of one image.
func (s *sink) Capacity(ctx context.Context) (pipeline.Capacity, error) {
	if err := s.begin(ctx); err != nil {
		return pipeline.Capacity{}, err
	}
	if s.oci {
		return pipeline.Capacity{}, nil
	}
	p := pipeline.DefaultPlatform()
	return pipeline.Capacity{Platform: &p, OneName: s.one, NoReferrers: true, NoAnnotations: true}, nil
}

// Plan takes layers as they came into a layout, and plain ones otherwise. What
// is there already is read before it is believed.
func (s *sink) Plan(ctx context.Context, l pipeline.Layer) (pipeline.Plan, error) {
	if err := s.begin(ctx); err != nil {
		return pipeline.Plan{}, err
	}
	plan := pipeline.Plan{Encoding: pipeline.Encoding{Recompress: s.recompress}}
	d := l.Blob.Digest
	if !s.oci {
		if l.Role == pipeline.Opaque {
			return plan, s.explain(errNotPlain("attestations and artifacts"))
		}
		d, plan.Encoding.Compression = l.DiffID, pipeline.Plain
	}
	if d == "" {
		return plan, nil
	}
	if s.session == nil {
		return plan, nil // no directory, and none is made
	}
	var err error
	plan.Held, err = s.holds(ctx, d)
	return plan, s.explain(err)
}

// errNotPlain says what the plain layout cannot hold, and what can.
func errNotPlain(what string) error {
	return fmt.Errorf("the plain layout cannot hold %s; write dir://DIR?format=oci, or choose one image with --platform", what)
}

// file is where a layer lies once it is published.
func (s *sink) file(d digest.Digest) string {
	if s.oci {
		return ocilayout.Blob(d)
	}
	return layerName(d)
}

// holds says whether a layer lies in the directory, whole.
func (s *sink) holds(ctx context.Context, d digest.Digest) (bool, error) {
	if err := d.Validate(); err != nil {
		return false, fmt.Errorf("digest %q: %w", d, err)
	}
	s.mu.Lock()
	c := s.held[d]
	if c == nil {
		c = &checked{}
		s.held[d] = c
	}
	s.mu.Unlock()
	c.once.Do(func() { c.ok, c.err = s.check(ctx, d) })
	return c.ok, c.err
}

// check reads a file that has a layer's name. One that is damaged is replaced.
func (s *sink) check(ctx context.Context, d digest.Digest) (bool, error) {
	name := s.file(d)
	size, err := s.session.size(name)
	if err != nil || size < 0 || s.foresees { // a run would read it first
		return size >= 0, err
	}
	got, err := s.session.hash(ctx, name, d.Algorithm())
	if err != nil {
		return false, err
	}
	if got != d {
		s.cfg.Events.Warn(fmt.Sprintf("%s: %s is damaged; it is written anew", s.path, name))
	}
	return got == d, nil
}

// has says whether a layer came in this run or was found to be there.
func (s *sink) has(ctx context.Context, d digest.Digest) (bool, error) {
	s.mu.Lock()
	_, ok := s.layers[d]
	s.mu.Unlock()
	if ok {
		return true, nil
	}
	return s.holds(ctx, d)
}

// Commit takes a manifest. It is written at Publish.
func (s *sink) Commit(_ context.Context, m pipeline.Manifest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.manifests = append(s.manifests, m)
	return nil
}

// Publish moves layers to their names and makes the images visible.
func (s *sink) Publish(ctx context.Context) error {
	err := s.begin(ctx)
	if err != nil {
		return err
	}
	if s.oci {
		err = s.publishLayout(ctx)
	} else {
		err = s.publishPlain(ctx)
	}
	s.published = err == nil
	return s.explain(err)
}

// placeLayers moves the layers that came to their names.
func (s *sink) placeLayers() error {
	for d, temp := range s.layers {
		if err := s.session.Place(temp, s.file(d)); err != nil {
			return err
		}
		delete(s.layers, d)
	}
	return nil
}

// Close discards what was not published.
func (s *sink) Close() error {
	s.open.Do(func() { s.opened = errors.New("it is closed") })
	if s.session == nil {
		return nil
	}
	if s.foresees {
		return s.session.root.Close()
	}
	err := s.session.Close(s.published)
	s.session = nil
	return s.explain(err)
}

// explain says which directory an error is about.
func (s *sink) explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("write %s: %w", s.path, err)
}
