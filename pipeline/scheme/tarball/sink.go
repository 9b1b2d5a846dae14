package tarball

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/ocilayout"
	"github.com/occystrap/occystrap/pipeline/inventory"
)

// A Format says what kind of archive is written.
type Format string

// The formats; "" is FormatAuto.
const (
	// FormatAuto is an OCI layout that also has a manifest.json, as docker save
	// writes since 25: blobs stay as they came, and any docker load takes it.
	FormatAuto Format = "auto"
	// FormatDocker is the plain archive of docker save 1.10 to 24.
	FormatDocker Format = "docker"
	// FormatOCI is an OCI layout and nothing else.
	FormatOCI Format = "oci"
)

// ParseFormat reads the option format=.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case "":
		return FormatAuto, nil
	case FormatAuto, FormatDocker, FormatOCI:
		return f, nil
	}
	return "", pipeline.Usage("tar:// option format is %q; it takes auto, docker or oci", s)
}

// SinkConfig says how an archive is written. The zero value works.
type SinkConfig struct {
	// TempDir holds layers that are not at their turn; "" is the system's.
	TempDir string
	Format  Format
	// Recompress is how layers that a filter changed are to be compressed.
	Recompress pipeline.Recompress
	// Names gives the names under which a root is written; nil keeps those it
	// came with.
	Names func(m pipeline.Manifest) []string
	// Omitted says which layers whoever loads the archive has already: it lists
	// images that lack them here. Nil: an archive has all of its layers.
	Omitted func(layer digest.Digest) bool
	// HaveFile names an inventory of the destination: what it lists is left out. ""
	// leaves out nothing.
	HaveFile string
	// LedgerFile names the inventory of what was sent before, which is left out and
	// to which the archive is added; "" for none.
	LedgerFile string
	// Events receives warnings.
	Events pipeline.Events
}

// sink writes one archive. Layers may come in any order and at once; the
// archive has them by seq, so the same input always gives the same bytes.
type sink struct {
	what   string // names the archive in messages
	cfg    SinkConfig
	target target
	queue  *queue

	foresees bool // nothing is made

	mu        sync.Mutex
	started   error // what start returned
	start     sync.Once
	committed map[digest.Digest]bool // layers whose bytes are in
	manifests []pipeline.Manifest
	zstd      bool                   // said that old Dockers cannot load it
	left      map[digest.Digest]bool // layers that were left out

	meeting sync.Once // guards what meet sets
	unmet   error
	have    *inventory.Inventory // what the destination has; nil: it is not known
	ledger  *ledger
}

// A target is where the bytes of an archive go in the end.
type target interface {
	// open makes the medium; called once, before anything is written.
	open() (medium, error)
	// publish ends the archive and makes it visible.
	publish() error
	// close discards what was not published.
	close() error
}

var (
	_ pipeline.Sink    = (*sink)(nil)
	_ pipeline.Skipper = (*sink)(nil)
	_ pipeline.Limited = (*sink)(nil)

	_ pipeline.Foreseer = (*sink)(nil)
)

// NewStreamSink writes an archive to w as it goes: standard output, a daemon's
// load. Close does not close w; what was written without Publish lacks its end.
func NewStreamSink(w io.Writer, cfg SinkConfig) pipeline.Sink {
	return newArchiveSink("the archive", &streamTarget{w: w}, cfg)
}

func newArchiveSink(what string, t target, cfg SinkConfig) *sink {
	if cfg.Format == "" {
		cfg.Format = FormatAuto
	}
	return &sink{what: what, cfg: cfg, target: t, committed: map[digest.Digest]bool{}, left: map[digest.Digest]bool{}}
}

// begin opens the target and writes what an OCI layout starts with.
func (s *sink) begin() error {
	s.start.Do(func() {
		var m medium
		err := s.meet()
		if err == nil {
			m, err = s.target.open()
		}
		if err == nil {
			s.queue = newQueue(m, s.cfg.TempDir)
			// An archive that may turn out to be partial is no OCI layout yet.
			if s.cfg.Format != FormatDocker && s.have == nil {
				err = s.layoutFile()
			}
		}
		s.started = s.explain(err)
	})
	return s.started
}

// layoutFile writes what makes the archive an OCI layout, once.
func (s *sink) layoutFile() error {
	return s.queue.append(layoutMember, []byte(`{"imageLayoutVersion":"`+ocispec.ImageLayoutVersion+`"}`))
}

// Capacity is everything, but a plain archive has no indexes: it takes the
// image for this machine.
func (s *sink) Capacity(context.Context) (pipeline.Capacity, error) {
	if err := s.meet(); err != nil {
		return pipeline.Capacity{}, s.explain(err)
	}
	if s.cfg.Format != FormatDocker {
		return pipeline.Capacity{Chains: s.have != nil}, nil
	}
	p := pipeline.DefaultPlatform()
	return pipeline.Capacity{Platform: &p, NoReferrers: true, NoAnnotations: true}, nil
}

// Plan takes every layer as it came, except that a plain archive has plain
// layers.
func (s *sink) Plan(_ context.Context, l pipeline.Layer) (pipeline.Plan, error) {
	if !s.foresees {
		if err := s.begin(); err != nil {
			return pipeline.Plan{}, err
		}
	}
	if s.cfg.Format != FormatDocker {
		plan := pipeline.Plan{Encoding: pipeline.Encoding{Recompress: s.cfg.Recompress}}
		if s.have != nil {
			plan.Held = s.leaveOut(l)
		}
		return plan, nil
	}
	if l.Role == pipeline.Opaque {
		return pipeline.Plan{}, fmt.Errorf("%s: %w", s.what, errNotDocker("attestations and artifacts"))
	}
	return pipeline.Plan{Encoding: pipeline.Encoding{Compression: pipeline.Plain}}, nil
}

// Foresee makes Plan answer without an archive.
func (s *sink) Foresee() { s.foresees = true }

// errNotDocker says what format=docker cannot hold, and what can.
func errNotDocker(what string) error {
	return fmt.Errorf("format=docker cannot hold %s; write format=oci or format=auto, or choose one image with --platform", what)
}

// Layer receives one layer.
func (s *sink) Layer(_ context.Context, seq int, l pipeline.Layer) (pipeline.LayerWriter, error) {
	if err := s.begin(); err != nil {
		return nil, err
	}
	promised := int64(unknownSize)
	name := ""
	if l.Blob.Digest != "" {
		promised, name = l.Blob.Size, s.layerName(l.Blob.Digest)
	}
	sl, err := s.queue.open(seq, name, promised)
	if err != nil {
		return nil, s.explain(err)
	}
	return newLayerWriter(s, sl), nil
}

// layerName is the member that holds a layer.
func (s *sink) layerName(d digest.Digest) string {
	if s.cfg.Format == FormatDocker {
		return d.Encoded() + "/layer.tar"
	}
	return ocilayout.Blob(d)
}

// Skip tells that no layer will come as seq.
func (s *sink) Skip(seq int) {
	if s.begin() == nil {
		_ = s.queue.skip(seq) // what it fails with, the next call says again
	}
}

// Commit takes a manifest. It is written at Publish, behind all layers.
func (s *sink) Commit(_ context.Context, m pipeline.Manifest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.warnZstd(m)
	s.manifests = append(s.manifests, m)
	return nil
}

// warnZstd says once which Dockers cannot load the archive.
func (s *sink) warnZstd(m pipeline.Manifest) {
	if s.cfg.Format != FormatAuto || s.zstd || !strings.Contains(string(m.Raw), "+zstd\"") {
		return
	}
	s.zstd = true
	s.cfg.Events.Warn(s.what + " has layers compressed with zstd, which Docker before 23.0 cannot load (format=docker writes them plain)")
}

// Publish writes manifests and indexes and makes the archive visible.
func (s *sink) Publish(ctx context.Context) error {
	if err := s.begin(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.queue.flush()
	if err == nil && s.cfg.Format == FormatDocker {
		err = s.writeDocker()
	} else if err == nil {
		err = s.writeLayout()
	}
	if err == nil {
		err = s.queue.finish()
	}
	if err == nil {
		err = s.publish()
	}
	return s.explain(err)
}

// Close discards what was not published.
func (s *sink) Close() error {
	s.start.Do(func() { s.started = errors.New("it is closed") })
	var err error
	if s.queue != nil {
		err = s.queue.close()
	}
	s.meeting.Do(func() { s.unmet = errors.New("it is closed") })
	if s.ledger != nil {
		err = errors.Join(err, s.ledger.close())
		s.ledger = nil
	}
	return errors.Join(err, s.target.close())
}

// explain says which archive an error is about.
func (s *sink) explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("write %s: %w", s.what, err)
}
