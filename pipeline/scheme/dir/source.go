package dir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/imagename"
	"github.com/occystrap/occystrap/pipeline/internal/staging"
)

// allImages is the value of ?image= that takes what there is.
const allImages = "all"

// source is a directory of images.
type source struct {
	path   string
	format format
	image  string // as ?image= says
}

var _ pipeline.Source = (*source)(nil)

// An image is one root of a directory.
type image struct {
	pipeline.Root
	config digest.Digest // of an image of the plain layout
}

// Open finds the images of the directory. Blobs are verified as they are read.
func (s *source) Open(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	root, err := os.OpenRoot(s.path)
	if err != nil {
		return nil, s.explain(err)
	}
	f := &folder{root: root, what: s.path, limits: q.Limits}
	g, err := s.open(ctx, f, q)
	if err != nil {
		_ = root.Close()
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	return g, nil
}

func (s *source) explain(err error) error {
	if info, serr := os.Stat(s.path); serr == nil && !info.IsDir() {
		return fmt.Errorf("%s: it is a file, not a directory; read it with tar://", s.path)
	}
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: there is no such directory", s.path)
	}
	return err
}

func (s *source) open(ctx context.Context, f *folder, q pipeline.Query) (pipeline.Graph, error) {
	c, images, err := s.images(ctx, f, q)
	if err == nil {
		images, err = choose(images, s.image)
	}
	if err != nil {
		return nil, err
	}
	roots := make([]pipeline.Root, len(images))
	for i, r := range images {
		roots[i] = r.Root
	}
	return pipeline.Resolve(ctx, c, roots, q, pipeline.ResolveOptions{}, f.root.Close)
}

// images reads the lists of the layout that the directory has.
func (s *source) images(ctx context.Context, f *folder, q pipeline.Query) (*content, []image, error) {
	have, err := f.format()
	if err != nil {
		return nil, nil, err
	}
	switch want := s.format; {
	case have == formatUnknown:
		return nil, nil, fmt.Errorf("it holds no images: there is no %s and no %s in it", manifestJSON, indexJSON)
	case want == formatOCI || want == formatUnknown && have == formatOCI:
		c := &content{folder: f, layout: true}
		images, err := c.layoutImages(q)
		for _, i := range images {
			c.listed = append(c.listed, i.Root)
		}
		return c, images, err
	}
	p := &plain{content: content{folder: f, files: map[digest.Digest]string{}, made: map[digest.Digest][]byte{}}, events: q.Events}
	images, err := p.images(ctx)
	return &p.content, images, err
}

// format tells which layout a directory has; one that docker save wrote and
// somebody unpacked has both, and index.json says more.
func (f *folder) format() (format, error) {
	entries, err := staging.Entries(f.root)
	if err != nil {
		return "", err
	}
	has := map[format]bool{}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == indexJSON, name == layoutFile:
			has[formatOCI] = true
		case isManifestFile(name), name == catalogJSON:
			has[formatPlain] = true
		}
	}
	switch {
	case has[formatOCI]:
		return formatOCI, nil
	case has[formatPlain]:
		return formatPlain, nil
	}
	return formatUnknown, nil
}

// choose keeps the images that ?image= names: by a name, a tag or a digest.
func choose(images []image, want string) ([]image, error) {
	if want == "" || want == allImages {
		return images, nil
	}
	full := imagename.Full(want)
	var names []string
	var found []image
	for _, i := range images {
		if full != "" && slices.Contains(i.Names, full) {
			i.Names = []string{full}
			return []image{i}, nil
		}
		d := digest.Digest(want)
		if d == i.Desc.Digest || d == i.config || slices.Contains(i.Tags, want) {
			found = append(found, i)
		}
		if names = append(names, i.Names...); len(i.Names) == 0 {
			names = append(names, i.Desc.Digest.String())
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	if found, err := elsewhere(images, want, full); err != nil || len(found) > 0 {
		return found, err
	}
	if near := pipeline.Nearest(want, names); near != "" {
		return nil, fmt.Errorf("it has no image %q: %w (did you mean %s?)", want, pipeline.ErrNotFound, near)
	}
	return nil, fmt.Errorf("it has no image %q: %w; it has %s", want, pipeline.ErrNotFound, strings.Join(names, ", "))
}

// elsewhere finds an image of another registry than Docker Hub by its name without
// the registry: so the Python tool wrote it into its catalog. There must be one.
func elsewhere(images []image, want, full string) (found []image, err error) {
	if full == "" || strings.HasPrefix(want, "docker.io/") {
		return nil, nil
	}
	name, tag := imagename.Split(full)
	var names []string
	for _, i := range images {
		for _, n := range i.Names {
			if pathAndTag(n) == name+":"+tag {
				i.Names = []string{n}
				found, names = append(found, i), append(names, n)
			}
		}
	}
	if len(found) > 1 {
		return nil, fmt.Errorf("it has several images %s:%s: %s; name one with its registry", name, tag, strings.Join(names, ", "))
	}
	return found, nil
}
