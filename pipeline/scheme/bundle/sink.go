package bundle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/runtimespec"
	"github.com/occystrap/occystrap/pipeline/internal/staging"
)

// sink writes one image as a bundle. Layers are spooled as they come; Publish
// unpacks them under a temporary name and then puts the whole bundle in place.
type sink struct {
	path    string
	cfg     Config
	options runtimespec.Options

	foresees  bool // nothing is made
	open      sync.Once
	opened    error
	session   *staging.Dir
	published bool

	mu        sync.Mutex
	layers    map[digest.Digest]*os.File // by diff ID
	manifests []pipeline.Manifest
}

var (
	_ pipeline.Sink    = (*sink)(nil)
	_ pipeline.Limited = (*sink)(nil)

	_ pipeline.Foreseer = (*sink)(nil)
)

func newSink(loc pipeline.Location, cfg Config) (*sink, error) {
	path, err := loc.FilePath()
	if err != nil {
		return nil, err
	}
	if _, err := loc.Recompress(); err != nil { // layers are plain here, and do not stay
		return nil, err
	}
	o, err := optionsOf(loc)
	if err != nil {
		return nil, err
	}
	return &sink{path: path, cfg: cfg, options: o, layers: map[digest.Digest]*os.File{}}, nil
}

// begin opens the directory, once. One that is not ours is not touched at all.
func (s *sink) begin(ctx context.Context) error {
	s.open.Do(func() {
		if runtime.GOOS != "linux" {
			s.opened = fmt.Errorf("runtime bundles are made on Linux only: %w", errors.ErrUnsupported)
			return
		}
		if s.opened = s.look(); s.opened == nil && !s.foresees {
			s.session, s.opened = staging.Open(ctx, s.path)
		}
		s.opened = s.explain(s.opened)
	})
	return s.opened
}

// Foresee makes the sink look at the directory and leave it as it is.
func (s *sink) Foresee() { s.foresees = true }

// look judges the directory before anything is made in it.
func (s *sink) look() error {
	root, err := os.OpenRoot(s.path)
	if err != nil {
		return nil // it is not there, or staging says what is wrong with it
	}
	defer root.Close()
	return fits(root)
}

// fits refuses a directory that holds something else than a bundle. One that was
// being replaced when its writer was killed has at least the image's config.
func fits(root *os.Root) error {
	entries, err := staging.Entries(root)
	if err != nil {
		return staging.Plain(err)
	}
	has, strangers := map[string]bool{}, 0
	for _, e := range entries {
		if !staging.IsOurs(e.Name()) {
			has[e.Name()] = true
			strangers++
		}
	}
	switch {
	case has["manifest.json"] || has["catalog.json"]:
		return pipeline.Usage("it holds images, not a bundle; name another directory, or write dir://")
	case strangers > 0 && !has[imageConfigName]:
		return pipeline.Usage("it is not empty, and no bundle that occystrap made (there is no %s); name another directory, or empty this one", imageConfigName)
	}
	return nil
}

// Capacity is one image under one name.
func (s *sink) Capacity(ctx context.Context) (pipeline.Capacity, error) {
	p := pipeline.DefaultPlatform()
	return pipeline.Capacity{OneName: true, Platform: &p, NoReferrers: true, NoAnnotations: true}, s.begin(ctx)
}

// Plan takes plain layers of file systems.
func (s *sink) Plan(ctx context.Context, l pipeline.Layer) (pipeline.Plan, error) {
	if err := s.begin(ctx); err != nil {
		return pipeline.Plan{}, err
	}
	if l.Role == pipeline.Opaque {
		return pipeline.Plan{}, s.explain(errNoImage)
	}
	return pipeline.Plan{Encoding: pipeline.Encoding{Compression: pipeline.Plain}}, nil
}

var errNoImage = errors.New("a bundle holds one image, no index and no artifact; choose one with --platform")

// Commit takes a manifest. It is used at Publish.
func (s *sink) Commit(_ context.Context, m pipeline.Manifest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.manifests = append(s.manifests, m)
	return nil
}

// Close discards what was not published.
func (s *sink) Close() error {
	s.open.Do(func() { s.opened = errors.New("it is closed") })
	var err error
	for d, f := range s.layers {
		err = errors.Join(err, f.Close())
		delete(s.layers, d)
	}
	if s.session == nil {
		return s.explain(err)
	}
	s.session.RemoveLock()
	err = errors.Join(err, s.session.Close(s.published))
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

// missing says whether an error is that a file is not there.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
