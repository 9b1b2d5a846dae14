package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/tarball"
)

// loadLane leads into every daemon: the load of the Engine API, streamed.
type loadLane struct{}

var _ Lane = loadLane{}

// Name is "load".
func (loadLane) Name() string { return "load" }

// Fits every daemon that says what its store is.
func (loadLane) Fits(_ context.Context, _ pipeline.Side, p *Place) (string, error) {
	if _, err := p.engine(); err != nil {
		return "", err
	}
	return "the Engine API's load", nil
}

// Source is nil: the lane leads in only.
func (loadLane) Source(Target) pipeline.Source { return nil }

// Sink loads images into the daemon of t.
func (loadLane) Sink(t Target) pipeline.Sink {
	pr, pw := io.Pipe()
	e, _ := t.Place.engine() // Fits has said that there is one
	s := &Sink{target: t, engine: e, pr: pr, pw: pw}
	s.archive = tarball.NewStreamSink(pw, tarball.SinkConfig{
		TempDir: t.TempDir,
		// An OCI layout with manifest.json beside it: Docker before 25 and graph
		// drivers read the one, the containerd store and Podman the other, which
		// keeps digests.
		Format: tarball.FormatAuto,
		// The archive names nothing: names are given when all was checked.
		Names: func(pipeline.Manifest) []string { return nil },
	})
	return s
}

// A Sink loads images into a daemon. The archive streams while layers are still
// being processed; images get their names in Publish, after the daemon was
// asked what it has made of them. Until then a run that ends leaves nothing.
type Sink struct {
	target  Target
	archive pipeline.Sink // writes the archive into pw
	pr      *io.PipeReader
	pw      *io.PipeWriter

	engine *engine

	once     sync.Once // guards what begin sets
	err      error
	transfer *transfer

	mu      sync.Mutex
	begun   bool
	skipped []int // before it had begun

	manifests []pipeline.Manifest // as committed
	loaded    []*arrival          // what is in the daemon without a name of ours
}

var (
	_ pipeline.Sink    = (*Sink)(nil)
	_ pipeline.Skipper = (*Sink)(nil)
	_ pipeline.Limited = (*Sink)(nil)
)

// errAborted is what the daemon's side of the pipe sees of a run that ends
// early: the body is cut, which no daemon takes for a whole archive.
var errAborted = errors.New("the run was aborted")

// Capacity is one image where the URI names one, and one platform where the
// daemon's store holds no indexes.
func (s *Sink) Capacity(context.Context) (pipeline.Capacity, error) {
	c := pipeline.Capacity{OneName: len(s.target.Images) > 0, NoReferrers: true}
	if !s.engine.indexes {
		c.Platform = &s.engine.platform
		c.NoAnnotations = !s.engine.podman // a graph driver makes a manifest of its own
	}
	return c, nil
}

// begin opens the load, once.
func (s *Sink) begin(ctx context.Context) error {
	s.once.Do(func() {
		// Contexts of single layers end before the load does.
		s.transfer = s.engine.load(context.WithoutCancel(ctx), s.pr)
		s.mu.Lock()
		s.begun = true
		skipped := s.skipped
		s.mu.Unlock()
		for _, seq := range skipped {
			s.skip(seq)
		}
	})
	return s.err
}

// Plan asks for plain layers where the daemon cannot read their compression, or
// could not and nobody knows yet what it is.
func (s *Sink) Plan(ctx context.Context, l pipeline.Layer) (pipeline.Plan, error) {
	if err := s.begin(ctx); err != nil {
		return pipeline.Plan{}, err
	}
	asItCame := pipeline.Plan{Encoding: pipeline.Encoding{Recompress: s.target.Recompress}}
	if s.engine.podman || s.target.Place.Knows(apiZstd) {
		return asItCame, nil
	}
	switch pipeline.LayerCompression(l.Blob.MediaType) {
	case pipeline.Plain, pipeline.Gzip:
		return asItCame, nil
	default:
		// The daemon stores files: gzip on the way would be work twice.
		return pipeline.Plan{Encoding: pipeline.Encoding{Compression: pipeline.Plain}}, nil
	}
}

// Layer takes one layer into the archive.
func (s *Sink) Layer(ctx context.Context, seq int, l pipeline.Layer) (pipeline.LayerWriter, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	return s.archive.Layer(ctx, seq, l)
}

// Skip passes on that a layer will not come. The archive may start to be written
// by that, so it waits until somebody reads.
func (s *Sink) Skip(seq int) {
	s.mu.Lock()
	begun := s.begun
	if !begun {
		s.skipped = append(s.skipped, seq)
	}
	s.mu.Unlock()
	if begun {
		s.skip(seq)
	}
}

func (s *Sink) skip(seq int) {
	if sk, ok := s.archive.(pipeline.Skipper); ok {
		sk.Skip(seq)
	}
}

// Commit keeps the manifest; which of them the daemon can hold is known when
// the roots are.
func (s *Sink) Commit(ctx context.Context, m pipeline.Manifest) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	if m.Root {
		names, err := s.names(m)
		if err != nil {
			return err
		}
		m.Names = names
	}
	s.manifests = append(s.manifests, m)
	return nil
}

// names are the full names that a root gets: the destination's own, or those
// that it came with.
func (s *Sink) names(m pipeline.Manifest) ([]string, error) {
	if len(s.target.Images) > 0 {
		name := s.target.Images[0].Name
		for _, have := range s.manifests {
			if have.Root && have.Desc.Digest != m.Desc.Digest {
				return nil, pipeline.Usage("docker://%s takes one image, and the source gives several; write docker:// to keep the names that they have", s.target.Images[0])
			}
		}
		return []string{name}, nil
	}
	var names []string
	for _, n := range m.Names {
		if full := fullName(n); full != "" {
			names = append(names, full)
			continue
		}
		s.target.Events.Warn(fmt.Sprintf("the daemon cannot name an image %q; write docker://NAME[:TAG] to name it", n))
	}
	return names, nil
}

// Publish ends the archive, waits until the daemon has taken it, checks what
// became of it, and gives the names.
func (s *Sink) Publish(ctx context.Context) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	chosen, arrivals, err := s.engine.choose(s.manifests, s.target.Events)
	if err != nil {
		return err
	}
	for _, a := range arrivals {
		a.had = s.engine.has(ctx, a.id)
	}
	s.loaded = arrivals
	for _, m := range chosen {
		if err := s.archive.Commit(ctx, m); err != nil {
			return err
		}
	}
	if err := s.archive.Publish(ctx); err != nil {
		return err
	}
	if err := s.pw.Close(); err != nil {
		return err
	}
	if err := s.transfer.wait(ctx); err != nil {
		return err
	}
	for _, a := range arrivals {
		if err := s.engine.check(ctx, a); err != nil {
			return err
		}
	}
	for _, a := range arrivals {
		if err := s.engine.name(ctx, a); err != nil {
			return err
		}
		if len(a.names) == 0 {
			s.target.Events.Warn(fmt.Sprintf("image %s has no name in the daemon; docker://NAME[:TAG] would give it one", a.id))
		}
	}
	s.loaded = nil
	return nil
}

// Close cuts a load that was not published, so that the daemon discards it, and
// removes what arrived without getting its name.
func (s *Sink) Close() error {
	s.once.Do(func() { s.err = errAborted }) // nothing may begin from here on
	err := s.pw.CloseWithError(errAborted)
	err = errors.Join(err, s.archive.Close())
	if s.transfer != nil {
		s.transfer.stop()
		err = errors.Join(err, s.engine.discard(s.loaded))
	}
	return err
}
