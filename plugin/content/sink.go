package content

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	storing "github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// sink writes images into a namespace of containerd. All of a run is under its
// lease until Publish names it; so a run that ends before has left nothing.
type sink struct {
	at          place
	absent      error  // why there is no such place; nil
	name        string // "" keeps those of the source
	unpack      bool
	snapshotter string
	namer       namer
	recompress  pipeline.Recompress
	limits      pipeline.Limits
	events      pipeline.Events
	foresees    bool // it looks, and takes no lease

	open      sync.Once // guards what begin sets
	opened    error
	store     *store
	filler    *filler // nil: nothing is unpacked
	manifests []pipeline.Manifest
	published bool
}

var (
	_ pipeline.Sink    = (*sink)(nil)
	_ pipeline.Limited = (*sink)(nil)

	_ pipeline.Foreseer = (*sink)(nil)
)

// begin connects, once.
func (s *sink) begin(ctx context.Context) error {
	s.open.Do(func() {
		s.opened = s.connect(ctx)
	})
	return s.opened
}

func (s *sink) connect(ctx context.Context) (err error) {
	if s.absent != nil {
		return s.absent
	}
	if s.store, err = s.at.connect(ctx); err != nil {
		return err
	}
	if s.foresees {
		return nil
	}
	if err := s.store.takeLease(ctx); err != nil || !s.unpack {
		return err
	}
	at, err := s.store.snapshotter(ctx, s.snapshotter)
	if err != nil {
		return err
	}
	s.filler = newFiller(ctx, at, s.limits)
	return nil
}

// Capacity is everything, under one name if the URI has one.
func (s *sink) Capacity(ctx context.Context) (pipeline.Capacity, error) {
	return pipeline.Capacity{OneName: s.name != "", NoReferrers: true}, s.begin(ctx)
}

// Plan takes layers as they come, and those that are there not at all.
func (s *sink) Plan(ctx context.Context, l pipeline.Layer) (pipeline.Plan, error) {
	if err := s.begin(ctx); err != nil {
		return pipeline.Plan{}, err
	}
	plan := pipeline.Plan{Encoding: pipeline.Encoding{Recompress: s.recompress}}
	if l.Blob.Digest == "" {
		return plan, nil
	}
	var err error
	if s.foresees {
		plan.Held, err = s.store.has(ctx, l.Blob)
	} else {
		plan.Held, err = s.store.takes(ctx, l.Blob)
	}
	return plan, err
}

// Foresee makes Plan look and take nothing. What only another namespace has is
// found when it is asked for, which a plan does not do.
func (s *sink) Foresee() { s.foresees = true }

// has says whether the namespace has a blob.
func (s *store) has(ctx context.Context, blob ocispec.Descriptor) (bool, error) {
	info, err := s.blobs().Info(s.in(ctx), blob.Digest)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	// Of another size than its descriptor says it is read, and found out.
	return err == nil && info.Size == blob.Size, s.explain(ctx, "look for "+blob.Digest.String(), err)
}

// takes says whether containerd has a blob, and puts it under the lease if so.
// Where namespaces share content, that may be another namespace's.
func (s *store) takes(ctx context.Context, blob ocispec.Descriptor) (held bool, err error) {
	doing := "look for " + blob.Digest.String()
	if err := s.protect(ctx, blob.Digest); err != nil { // first, lest it be collected in between
		return false, err
	}
	if held, err := s.has(ctx, blob); held || err != nil {
		return held, err
	}
	w, err := s.write(ctx, ocispec.Descriptor{Digest: blob.Digest, Size: blob.Size})
	if errdefs.IsAlreadyExists(err) {
		return true, nil
	}
	if err != nil {
		return false, s.explain(ctx, doing, err)
	}
	defer func() { err = errors.Join(err, w.Close()) }() //nolint:contextcheck // it tidies up after a run that was cancelled, too
	status, err := w.Status()
	if err != nil || status.Offset == 0 || status.Offset != blob.Size {
		return false, s.explain(ctx, doing, err)
	}
	return true, s.explain(ctx, doing, w.commit(ctx, blob))
}

// A blobWriter writes one blob; Close without commit leaves nothing.
type blobWriter struct {
	storing.Writer
	store  *store
	ref    string
	cancel context.CancelFunc
	done   bool
}

// write begins a blob. That it exists is an error, and it is under the lease
// then.
func (s *store) write(ctx context.Context, blob ocispec.Descriptor) (*blobWriter, error) {
	w := &blobWriter{store: s, ref: "occystrap-" + rand.Text()}
	ctx, w.cancel = context.WithCancel(s.in(ctx))
	var err error
	if w.Writer, err = s.blobs().Writer(ctx, storing.WithRef(w.ref), storing.WithDescriptor(blob)); err != nil {
		w.cancel()
		return nil, err
	}
	return w, nil
}

// commit ends the blob; containerd compares its digest.
func (w *blobWriter) commit(ctx context.Context, blob ocispec.Descriptor, opts ...storing.Opt) error {
	err := w.Commit(w.store.in(ctx), blob.Size, blob.Digest, opts...)
	if errdefs.IsAlreadyExists(err) {
		if err = w.store.protect(ctx, blob.Digest); err == nil {
			_, err = w.store.blobs().Info(w.store.in(ctx), blob.Digest)
		}
	} else if err == nil {
		w.done = true
	}
	return err
}

// Close discards a blob that was not committed. Containerd may still be about
// to close it, and refuse then; what stays goes with the lease.
func (w *blobWriter) Close() error {
	defer w.cancel()
	if w.done {
		return nil
	}
	w.done = true
	_ = w.Writer.Close()
	ctx, cancel := context.WithTimeout(context.Background(), tidyTimeout)
	defer cancel()
	_ = w.store.blobs().Abort(w.store.in(ctx), w.ref)
	return nil
}

// Commit writes a manifest and its config, labelled so that what has the one
// keeps the others.
func (s *sink) Commit(ctx context.Context, m pipeline.Manifest) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	if !pipeline.IsIndex(m.Desc.MediaType) {
		if err := s.config(ctx, m); err != nil {
			return err
		}
	}
	if err := s.store.put(ctx, m.Desc, m.Raw); err != nil {
		return err
	}
	blobs := s.store.blobs()
	desc := ocispec.Descriptor{MediaType: m.Desc.MediaType, Digest: m.Desc.Digest, Size: int64(len(m.Raw))}
	if _, err := images.SetChildrenLabels(blobs, images.ChildrenHandler(blobs)).Handle(s.store.in(ctx), desc); err != nil {
		return s.at.explain(ctx, "label manifest "+desc.Digest.String(), err)
	}
	s.manifests = append(s.manifests, m)
	return nil
}

// config writes the config of an image and looks whether its layers are there:
// an image that lacks some can be run and not be pushed, and nobody says why.
func (s *sink) config(ctx context.Context, m pipeline.Manifest) error {
	var manifest ocispec.Manifest
	if err := json.Unmarshal(m.Raw, &manifest); err != nil {
		return fmt.Errorf("read manifest %s: %w", m.Desc.Digest, err)
	}
	if m.Config != nil {
		if err := s.store.put(ctx, manifest.Config, m.Config); err != nil {
			return err
		}
	}
	for _, l := range manifest.Layers {
		if len(l.URLs) > 0 {
			continue // left where they point
		}
		if _, err := s.store.blobs().Info(s.store.in(ctx), l.Digest); err != nil {
			return s.at.explain(ctx, "look for layer "+l.Digest.String(), err)
		}
	}
	return nil
}

// put writes a small blob.
func (s *store) put(ctx context.Context, desc ocispec.Descriptor, raw []byte) (err error) {
	doing := "write " + desc.Digest.String()
	desc = ocispec.Descriptor{Digest: desc.Digest, Size: int64(len(raw))}
	w, err := s.write(ctx, desc)
	if errdefs.IsAlreadyExists(err) {
		return nil
	}
	if err != nil {
		return s.explain(ctx, doing, err)
	}
	defer func() { err = errors.Join(err, w.Close()) }() //nolint:contextcheck // it tidies up after a run that was cancelled, too
	if err := storing.Copy(s.in(ctx), w, bytes.NewReader(raw), desc.Size, desc.Digest); err != nil {
		return s.explain(ctx, doing, err)
	}
	w.done = true
	return s.protect(ctx, desc.Digest)
}

// Close gives up the lease: what was not published is collected.
func (s *sink) Close() error {
	s.open.Do(func() { s.opened = errors.New("it is closed") })
	if s.store == nil {
		return nil
	}
	if s.filler != nil {
		s.filler.close(context.Background())
	}
	err := s.store.close(!s.published)
	s.store = nil
	return err
}
