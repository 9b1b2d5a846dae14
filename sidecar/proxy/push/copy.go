package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

// copies says whether a manifest goes as it is, with whatever it names: no filter of
// its rule has a say, so nobody has to understand it. An index without images, such as
// that of a BuildKit cache, lists blobs alone.
func copies(m registry.Manifest, rule *rules.Rule) bool {
	return rule.Plain() || pipeline.IsIndex(m.Desc.MediaType) && !slices.ContainsFunc(m.Entries, isManifest)
}

func isManifest(d ocispec.Descriptor) bool {
	return pipeline.IsManifest(d.MediaType) || pipeline.IsIndex(d.MediaType)
}

// copy sends a manifest on as it is. Most of its blobs are there, since they went while
// they arrived.
func (p *Push) copy(ctx context.Context, d delivery) (report pipeline.Report, err error) {
	dst, err := p.cfg.Keeper.Sink(ctx, d.repository, d.tags)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, onSink(dst.Close())) }()
	listed, err := p.copyChildren(ctx, d)
	if err != nil {
		return report, err
	}
	if err := p.copyBlobs(ctx, d, slices.Concat(d.m.Blobs, listed), dst, &report); err != nil {
		return report, err
	}
	out := pipeline.Manifest{Desc: d.m.Desc, Raw: d.m.Raw, Root: true, Names: names(d.repository, d.tags)}
	if err := dst.Commit(ctx, out); err != nil {
		return report, onSink(err)
	}
	if err := dst.Publish(ctx); err != nil {
		return report, onSink(err)
	}
	report.Written += int64(len(d.m.Raw))
	report.Roots = []pipeline.RootReport{{Names: out.Names, Source: d.m.Desc.Digest, Manifest: d.m.Desc}}
	return report, nil
}

// copyBlobs sends what a manifest names, but for what lives elsewhere and is not here.
func (p *Push) copyBlobs(ctx context.Context, d delivery, blobs []ocispec.Descriptor, dst pipeline.Sink, report *pipeline.Report) error {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(p.cfg.Parallel)
	sent := make([]bool, len(blobs))
	for i, desc := range blobs {
		if len(desc.URLs) > 0 || d.held[desc.Digest] {
			continue
		}
		group.Go(func() (err error) {
			sent[i], err = p.copyBlob(gctx, d.repository, desc, dst)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, desc := range blobs {
		if sent[i] {
			report.Written += desc.Size
		} else {
			report.Reused += desc.Size
		}
	}
	return nil
}

// copyBlob sends a blob, unless it is there.
func (p *Push) copyBlob(ctx context.Context, repository string, desc ocispec.Descriptor, dst pipeline.Sink) (sent bool, err error) {
	l := pipeline.Layer{Blob: desc, Role: pipeline.Opaque}
	plan, err := dst.Plan(ctx, l)
	if err != nil || plan.Held {
		return false, onSink(err)
	}
	rc, err := p.Backend().Blobs.Open(ctx, repository, desc.Digest, 0)
	if err != nil {
		return false, &pipeline.Error{Side: pipeline.SourceSide, Err: err}
	}
	src := pipeline.Verified(rc, desc)
	defer src.Close()
	w, err := dst.Layer(ctx, 0, l)
	if err != nil {
		return false, onSink(err)
	}
	defer w.Close()
	if _, err := io.Copy(sinkWriter{w}, sourceReader{src}); err != nil {
		return false, err
	}
	return true, onSink(w.Commit(ctx, desc, ""))
}

// copyChildren sees to it that the manifests which an index lists are kept, and returns
// the blobs that it lists. Where filters have a say nothing counts as a manifest.
func (p *Push) copyChildren(ctx context.Context, d delivery) (blobs []ocispec.Descriptor, err error) {
	for _, e := range d.m.Entries {
		if isManifest(e) && d.rule.Plain() {
			if err := p.copyChild(ctx, d, e); err != nil {
				return nil, err
			}
			continue
		}
		_, err := p.Backend().Blobs.Stat(ctx, d.repository, e.Digest)
		switch {
		case err == nil:
			blobs = append(blobs, e)
		case !registry.IsMissing(err):
			return nil, err
		}
	}
	return blobs, nil
}

// copyChild sees to it that a manifest is kept. It nearly always is: it was acknowledged.
// Only what came under another rule, which had it wait, is not.
func (p *Push) copyChild(ctx context.Context, d delivery, desc ocispec.Descriptor) error {
	ref := registry.Ref{Digest: desc.Digest}
	_, err := p.cfg.Keeper.Backend().Manifests.Stat(ctx, d.repository, ref)
	if !registry.IsMissing(err) {
		return err
	}
	got, raw, err := p.cfg.Staging.Manifests.Get(ctx, d.repository, ref)
	if registry.IsMissing(err) {
		return nil // what an index may lack
	}
	if err != nil {
		return err
	}
	child, err := registry.ParseManifest(got.MediaType, raw, desc.Digest.Algorithm())
	if err != nil {
		return fmt.Errorf("manifest %s: %w", desc.Digest, err)
	}
	_, err = p.copy(ctx, delivery{repository: d.repository, m: child, rule: d.rule})
	return err
}

func onSink(err error) error {
	var have *pipeline.Error
	if err == nil || errors.As(err, &have) {
		return err
	}
	return &pipeline.Error{Side: pipeline.SinkSide, Err: err}
}

// sinkWriter and sourceReader tell whose error it was.
type sinkWriter struct{ w io.Writer }

func (s sinkWriter) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	return n, onSink(err)
}

type sourceReader struct{ r io.Reader }

func (s sourceReader) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &pipeline.Error{Side: pipeline.SourceSide, Err: err}
	}
	return n, err
}
