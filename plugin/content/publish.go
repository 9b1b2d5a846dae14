package content

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// Publish unpacks what this machine can run, then names the images, which
// replaces those of the same names. If one cannot be named, none is.
func (s *sink) Publish(ctx context.Context) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	var made []images.Image
	for _, m := range s.manifests {
		if !m.Root {
			continue
		}
		names, err := s.names(m, made)
		if err != nil {
			return err
		}
		target := ocispec.Descriptor{MediaType: m.Desc.MediaType, Digest: m.Desc.Digest, Size: int64(len(m.Raw))}
		for _, n := range names {
			made = append(made, images.Image{Name: n, Target: target})
		}
		if err := s.unpackFor(ctx, m, images.Image{Name: names[0], Target: target}); err != nil {
			return err
		}
	}
	if len(made) == 0 {
		return fmt.Errorf("the source gave no image: %w", pipeline.ErrNotFound)
	}
	if err := s.namer.name(ctx, s.store, made); err != nil {
		return err
	}
	s.published = true
	return nil
}

// names are the full names that a root gets.
func (s *sink) names(m pipeline.Manifest, made []images.Image) ([]string, error) {
	if s.name != "" {
		if len(made) > 0 && made[0].Target.Digest != m.Desc.Digest {
			return nil, pipeline.Usage("%s takes one image, and the source gives several; leave out the name to keep those that they have", s.name)
		}
		return []string{s.name}, nil
	}
	var names []string
	for _, n := range m.Names {
		if full := fullName(n); full != "" {
			names = append(names, full)
		}
	}
	if len(names) == 0 {
		return s.namer.nameless(m, s.events)
	}
	return names, nil
}

// A namer gives images their names, when all of them is there. If one cannot be
// named, none is.
type namer interface {
	name(ctx context.Context, s *store, made []images.Image) error
	// nameless are the names of an image without one.
	nameless(m pipeline.Manifest, events pipeline.Events) ([]string, error)
}

// plainNames are containerd's.
type plainNames struct{}

func (plainNames) name(ctx context.Context, s *store, made []images.Image) error {
	return s.nameAll(ctx, made)
}

func (plainNames) nameless(m pipeline.Manifest, _ pipeline.Events) ([]string, error) {
	return nil, pipeline.Usage("image %s has no name, without which containerd does not keep it; write containerd://NAME[:TAG]", m.Desc.Digest)
}

// nameAll names images; after an error what had the names has them again.
func (s *store) nameAll(ctx context.Context, made []images.Image) error {
	var undo []func(ctx context.Context) error
	for _, i := range made {
		back, err := s.nameOne(ctx, i)
		if err == nil {
			undo = append(undo, back)
			continue
		}
		err = s.explain(ctx, "name image "+i.Name, err)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTimeout)
		defer cancel()
		for _, back := range undo {
			err = errors.Join(err, back(s.in(ctx)))
		}
		return err
	}
	return nil
}

// nameOne names an image and returns how to undo that.
func (s *store) nameOne(ctx context.Context, i images.Image) (undo func(context.Context) error, err error) {
	service := s.cli.ImageService()
	const target = "target" // labels that others have given stay
	for range 2 {           // it may come or go between two requests
		was, err := service.Get(s.in(ctx), i.Name)
		if err == nil {
			_, err = service.Update(s.in(ctx), i, target)
			if errdefs.IsNotFound(err) {
				continue
			}
			return func(ctx context.Context) error {
				_, err := service.Update(ctx, was, target)
				return err
			}, err
		}
		if !errdefs.IsNotFound(err) {
			return nil, err
		}
		if _, err = service.Create(s.in(ctx), i); errdefs.IsAlreadyExists(err) {
			continue
		}
		return func(ctx context.Context) error { return service.Delete(ctx, i.Name) }, err
	}
	return nil, fmt.Errorf("another program changes the image: %w", errdefs.ErrAborted)
}
