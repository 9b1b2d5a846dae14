package push

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

// deliver sends a manifest on with all that it names, once for all clients that put it
// under the same tags at the same time. It goes on when a client leaves: another may
// wait for it, or the same one come again.
func (p *Push) deliver(ctx context.Context, repository string, m registry.Manifest, tags []string) (ocispec.Descriptor, error) {
	tags = slices.Clone(tags)
	slices.Sort(tags)
	key := strings.Join(append([]string{repository, m.Desc.MediaType, m.Desc.Digest.String()}, tags...), " ")
	done := p.flights.DoChan(key, func() (_ any, err error) {
		if !p.take() {
			return ocispec.Descriptor{}, errClosed
		}
		defer p.land()
		defer recovered(&err)
		return p.image(p.work, repository, m, tags)
	})
	select {
	case r := <-done:
		desc, _ := r.Val.(ocispec.Descriptor)
		if r.Err != nil && p.work.Err() != nil {
			return desc, errClosed
		}
		return desc, r.Err
	case <-ctx.Done():
		return ocispec.Descriptor{}, context.Cause(ctx)
	}
}

// turn waits for one of the places of images at work.
func (p *Push) turn(ctx context.Context) error {
	select {
	case p.runs <- struct{}{}:
		return nil
	default:
	}
	if p.cfg.Queue != nil {
		p.cfg.Queue(1)
		defer p.cfg.Queue(-1)
	}
	select {
	case p.runs <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// image sends one manifest on and tells what became of it.
func (p *Push) image(ctx context.Context, repository string, m registry.Manifest, tags []string) (stored ocispec.Descriptor, err error) {
	start := time.Now()
	told := Image{Repository: repository, Tags: tags, Received: m.Desc.Digest}
	defer func() {
		told.Stored, told.Err, told.Duration = stored.Digest, err, time.Since(start)
		if p.cfg.Done != nil {
			p.cfg.Done(told)
		}
	}()
	rule := p.cfg.Rules.For(repository)
	if waits(m, tags, rule) {
		return stored, p.keepReceived(ctx, repository, m)
	}
	early, err := p.settle(ctx, repository, digests(m.Blobs))
	if told.In, told.Out = early.in, early.out; err != nil {
		return stored, err
	}
	if err := p.turn(ctx); err != nil {
		return stored, err
	}
	defer func() { <-p.runs }()
	report, err := p.sendOn(ctx, delivery{repository, m, tags, rule, early.held})
	told.In += int64(len(m.Raw))
	told.Reused = max(report.Reused-told.Out, 0)
	told.Out += report.Written
	told.Dropped = report.Dropped
	if errors.Is(err, pipeline.ErrNoPlatform) && len(tags) == 0 {
		told.Dropped = append(told.Dropped, "an image for a platform that the rule leaves out")
		return stored, p.keepReceived(ctx, repository, m) // for its index
	}
	if err != nil {
		return stored, err
	}
	for _, root := range report.Roots {
		stored = root.Manifest
	}
	return stored, p.keepReceived(ctx, repository, m)
}

// A delivery is a manifest that goes to the keeper.
type delivery struct {
	repository string
	m          registry.Manifest
	tags       []string
	rule       *rules.Rule
	held       map[digest.Digest]bool // blobs that the keeper has for certain
}

// sendOn brings an image to the keeper, and notes what it is kept as.
func (p *Push) sendOn(ctx context.Context, d delivery) (report pipeline.Report, err error) {
	came := d.m.Desc.Digest
	if d.m, err = p.followSubject(ctx, d.repository, d.m); err != nil {
		return report, err
	}
	if err := p.judge(ctx, d.repository, d.m, d.rule, 0); err != nil {
		return report, err
	}
	if copies(d.m, d.rule) {
		report, err = p.copy(ctx, d)
	} else {
		report, err = p.run(ctx, d)
	}
	if err != nil {
		return report, err
	}
	for _, root := range report.Roots {
		if err := p.note(ctx, d.repository, came, root.Manifest); err != nil {
			return report, fmt.Errorf("remember what %s is kept as: %w", came, err)
		}
	}
	return report, nil
}

// run sends a manifest through the filters.
func (p *Push) run(ctx context.Context, d delivery) (report pipeline.Report, err error) {
	filters, err := d.rule.Filters()
	if err != nil {
		return report, err
	}
	src := p.Backend()
	src.Manifests = withManifest{src.Manifests, d.m}
	dst, err := p.cfg.Keeper.Sink(ctx, d.repository, d.tags)
	if err != nil {
		return report, err
	}
	source := registry.NewSource(src, d.repository, registry.Ref{Digest: d.m.Desc.Digest}, names(d.repository, d.tags))
	return pipeline.Run(ctx, source, filters, dst, p.options(d.rule))
}

// keepReceived has a manifest answered by the digest that it came with. That comes last:
// a client that finds it takes the image for pushed.
func (p *Push) keepReceived(ctx context.Context, repository string, m registry.Manifest) error {
	if err := p.cfg.Staging.Manifests.Put(ctx, repository, m, nil); err != nil {
		return fmt.Errorf("keep manifest %s: %w", m.Desc.Digest, err)
	}
	return nil
}

// names are the full names of what was put, for filters that tell them.
func names(repository string, tags []string) (out []string) {
	for _, tag := range tags {
		out = append(out, repository+":"+tag)
	}
	return out
}

func digests(descs []ocispec.Descriptor) (out []digest.Digest) {
	for _, d := range descs {
		if !slices.Contains(out, d.Digest) {
			out = append(out, d.Digest)
		}
	}
	return out
}

// withManifest has one manifest more, which is in no place yet.
type withManifest struct {
	registry.Manifests
	m registry.Manifest
}

func (w withManifest) Stat(ctx context.Context, repository string, ref registry.Ref) (ocispec.Descriptor, error) {
	if ref.Digest == w.m.Desc.Digest {
		return w.m.Desc, nil
	}
	return w.Manifests.Stat(ctx, repository, ref)
}

func (w withManifest) Get(ctx context.Context, repository string, ref registry.Ref) (ocispec.Descriptor, []byte, error) {
	if ref.Digest == w.m.Desc.Digest {
		return w.m.Desc, w.m.Raw, nil
	}
	return w.Manifests.Get(ctx, repository, ref)
}
