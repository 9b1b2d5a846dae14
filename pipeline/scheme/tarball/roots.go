package tarball

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/imagename"
)

// The members that list images.
const (
	indexMember        = "index.json"
	savedMember        = "manifest.json"
	layoutMember       = "oci-layout"
	repositoriesMember = "repositories"
)

// allImages is the value of ?image= that takes what there is.
const allImages = "all"

// A root is one image or index of an archive.
type root struct {
	pipeline.Root
	config digest.Digest // of an image whose manifest was made up here
}

// graph resolves what the archive holds, or the image that the user chose.
// After an error the caller closes what closer would.
func (a *archive) graph(ctx context.Context, image string, q pipeline.Query, closer func() error) (pipeline.Graph, error) {
	roots, err := a.roots(ctx, q)
	for _, r := range roots {
		a.listed = append(a.listed, r.Root)
	}
	if err == nil {
		roots, err = a.choose(ctx, roots, image)
	}
	if err != nil {
		return nil, err
	}
	plain := make([]pipeline.Root, len(roots))
	for i, r := range roots {
		plain[i] = r.Root
	}
	return pipeline.Resolve(ctx, content{a}, plain, q, pipeline.ResolveOptions{}, closer)
}

// roots finds the images. An index.json that can be used wins: manifests and
// digests stay as they are, and manifest.json only adds names.
func (a *archive) roots(ctx context.Context, q pipeline.Query) ([]root, error) {
	if list, err := a.partial(ctx); list != nil || err != nil {
		if err != nil {
			return nil, err
		}
		return a.rootsOf(partialMember, list.Index, q, false)
	}
	saved, err := a.saved(ctx)
	if err != nil {
		return nil, err
	}
	var roots []root
	if a.members[indexMember] != nil {
		if roots, err = a.indexRoots(ctx, q, len(saved) > 0); err != nil {
			return nil, err
		}
		if len(roots) > 0 {
			return roots, a.addNames(ctx, roots, saved, q)
		}
	}
	if len(saved) > 0 {
		return a.savedRoots(ctx, saved, q)
	}
	switch {
	case a.members[indexMember] != nil || a.members[savedMember] != nil:
		return nil, fmt.Errorf("it lists no image: %w; save the image again", pipeline.ErrNotFound)
	case a.members[repositoriesMember] != nil:
		return nil, fmt.Errorf("it was saved by a Docker before 1.10 and has no %s; load it with docker load and save it again with docker save", savedMember)
	}
	return nil, fmt.Errorf("it has no %s and no %s, so it is not an image archive; write one with docker save, podman save or skopeo copy (docker export writes a file system only)", savedMember, indexMember)
}

// choose keeps the image that ?image= names: by a name, a tag or a digest.
func (a *archive) choose(ctx context.Context, roots []root, image string) ([]root, error) {
	if image == "" || image == allImages {
		return roots, nil
	}
	full := imagename.Full(image)
	var names []string
	for _, r := range roots {
		if full != "" && slices.Contains(r.Names, full) {
			r.Names = []string{full}
			return []root{r}, nil
		}
		names = append(names, r.Names...)
	}
	var found []root
	for _, r := range roots {
		configs, err := a.configs(ctx, r)
		if err != nil {
			return nil, err
		}
		d := digest.Digest(image)
		if d == r.Desc.Digest || slices.Contains(configs, d) || slices.Contains(r.Tags, image) {
			found = append(found, r)
		}
		if len(r.Names) == 0 {
			names = append(names, r.Desc.Digest.String())
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	if near := pipeline.Nearest(image, names); near != "" {
		return nil, fmt.Errorf("it has no image %q: %w (did you mean %s?)", image, pipeline.ErrNotFound, near)
	}
	return nil, fmt.Errorf("it has no image %q: %w; it has %s", image, pipeline.ErrNotFound, strings.Join(names, ", "))
}

// checkCount bounds how many images an archive may list.
func (a *archive) checkCount(n int) error {
	if n > a.limits.Manifests {
		return fmt.Errorf("it lists %d images: %w of %d", n, pipeline.ErrLimit, a.limits.Manifests)
	}
	return nil
}
