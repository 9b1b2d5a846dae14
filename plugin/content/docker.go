package content

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
)

// dangling is how Docker names an image without a name in containerd
// (moby, daemon/containerd: danglingImageName).
const dangling = "moby-dangling@"

// dockerNames are those of images in a Docker. It gives them itself: what had a name
// before stays as an image without one, and who watches it hears of it.
type dockerNames struct{ place *daemon.Place }

func (d dockerNames) nameless(m pipeline.Manifest, events pipeline.Events) ([]string, error) {
	events.Warn(fmt.Sprintf("image %s has no name in the daemon; docker://NAME[:TAG] would give it one", m.Desc.Digest))
	return []string{dangling + m.Desc.Digest.String()}, nil
}

// name puts images where Docker sees them, then asks it to name them.
func (d dockerNames) name(ctx context.Context, s *store, made []images.Image) (err error) {
	var added []images.Image
	seen := map[digest.Digest]bool{}
	for _, i := range made {
		if seen[i.Target.Digest] {
			continue
		}
		seen[i.Target.Digest] = true
		have, err := s.cli.ImageService().List(s.in(ctx), "target.digest=="+i.Target.Digest.String())
		if err != nil {
			return s.explain(ctx, "look for image "+i.Target.Digest.String(), err)
		}
		if len(have) == 0 {
			added = append(added, images.Image{Name: dangling + i.Target.Digest.String(), Target: bare(i.Target)})
		}
	}
	if err := s.nameAll(ctx, added); err != nil {
		return err
	}
	for _, i := range made {
		if strings.HasPrefix(i.Name, dangling) {
			continue
		}
		if err := d.place.Tag(ctx, i.Target.Digest.String(), i.Name); err != nil {
			return errors.Join(err, s.unname(ctx, added))
		}
	}
	return nil
}

// bare is a descriptor as Docker stores it.
func bare(d ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}

// unname takes away what a run that failed has named; Docker has done so where the
// image has another name by now.
func (s *store) unname(ctx context.Context, added []images.Image) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTimeout)
	defer cancel()
	for _, i := range added {
		if derr := s.cli.ImageService().Delete(s.in(ctx), i.Name); derr != nil && !errdefs.IsNotFound(derr) {
			err = errors.Join(err, s.explain(ctx, "remove image "+i.Name, derr))
		}
	}
	return err
}
