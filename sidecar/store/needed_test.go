package store_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/store"
)

// denied says whether an error is a refusal, and what it says.
func denied(err error) (message string, is bool) {
	var e *registry.Error
	if errors.As(err, &e) && e.Code == registry.Denied {
		return e.Message, true
	}
	return "", false
}

// An index and all that it lists is one image: what it needs cannot be deleted before it.
func TestListedManifestIsNotDeletedBeforeItsIndex(t *testing.T) {
	t.Parallel()
	for name, o := range spaces() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, t.TempDir(), store.Options{})
			b, ctx := s.Space("s", o).Backend(), t.Context()
			img := must(push(ctx, b, "app", "img", nil, []string{"img"}, layer("img")))(t)
			about := must(push(ctx, b, "app", "about", &img, nil, layer("about")))(t)
			inner := must(pushIndex(ctx, b, "app", nil, img))(t)
			outer := must(pushIndex(ctx, b, "app", []string{"1"}, inner))(t)
			elsewhere := must(push(ctx, b, "other", "img", nil, nil, layer("img")))(t)
			for _, c := range []struct{ gone, by ocispec.Descriptor }{{img, inner}, {inner, outer}} {
				message, is := denied(b.Manifests.Delete(ctx, "app", c.gone.Digest))
				if !is || !strings.Contains(message, "index "+c.by.Digest.String()) || !strings.Contains(message, "delete the index first") {
					t.Errorf("%s was deleted, or refused with %q", c.gone.Digest, message)
				}
			}
			if !has(t, b, "app", "1") || !has(t, b, "app", "img") {
				t.Error("what was refused is gone")
			}
			must(0, b.Tags.Delete(ctx, "app", "img"))(t) // a name alone is free
			must(0, b.Manifests.Delete(ctx, "app", about.Digest))(t)
			must(0, b.Manifests.Delete(ctx, "other", elsewhere.Digest))(t)
			for _, d := range []ocispec.Descriptor{outer, inner, img} {
				must(0, b.Manifests.Delete(ctx, "app", d.Digest))(t)
			}
			clean(t, s)
		})
	}
}

// A sparse space has what there is: nothing in it needs anything.
func TestSparseSpaceDeletesWhatIsListed(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), store.Options{})
	b := s.Space("s", store.SpaceOptions{Volatile: true, Sparse: true}).Backend()
	img := must(push(t.Context(), b, "app", "img", nil, nil, layer("img")))(t)
	must(pushIndex(t.Context(), b, "app", []string{"1"}, img))(t)
	must(0, b.Manifests.Delete(t.Context(), "app", img.Digest))(t)
	clean(t, s)
}

// A manifest that is put while what it names is deleted is whole, or is refused.
func TestDeleteAndPutAtOnceLeaveWholeImages(t *testing.T) {
	t.Parallel()
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	for name, o := range spaces() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, t.TempDir(), store.Options{})
			b := s.Space("s", o).Backend()
			for range rounds {
				img := must(push(t.Context(), b, "app", "img", nil, nil, []byte("layer")))(t)
				race(t, b, img)
				if t.Failed() {
					return
				}
			}
			clean(t, s)
		})
	}
}

// race puts an index of an image, and an image with a free blob, while both are deleted.
func race(t *testing.T, b registry.Backend, img ocispec.Descriptor) {
	t.Helper()
	ctx := t.Context()
	loose := must(upload(ctx, b, "app", []byte("loose")))(t)
	var puts, deletes [2]error
	var g errgroup.Group
	g.Go(func() error { _, puts[0] = pushIndex(ctx, b, "app", []string{"index"}, img); return nil })
	g.Go(func() error { deletes[0] = b.Manifests.Delete(ctx, "app", img.Digest); return nil })
	g.Go(func() error { puts[1] = putLoose(t, b, loose); return nil })
	g.Go(func() error { deletes[1] = b.Blobs.Delete(ctx, "app", loose); return nil })
	_ = g.Wait() // they return nil
	for i, tag := range []string{"index", "loose"} {
		if err := deletes[i]; err != nil {
			if _, is := denied(err); !is {
				t.Errorf("delete: %v", err)
			}
		}
		if puts[i] != nil {
			if deletes[i] != nil {
				t.Errorf("neither was put (%v) nor deleted (%v)", puts[i], deletes[i])
			}
			continue
		}
		if err := whole(ctx, b, "app", registry.Ref{Tag: tag}); err != nil {
			t.Errorf("after its parts were deleted (%v): %v", deletes[i], err)
		}
		desc := must(b.Manifests.Stat(ctx, "app", registry.Ref{Tag: tag}))(t)
		must(0, b.Manifests.Delete(ctx, "app", desc.Digest))(t)
	}
	if err := b.Manifests.Delete(ctx, "app", img.Digest); err != nil && !errors.Is(err, pipeline.ErrNotFound) {
		t.Error(err)
	}
}

// putLoose puts a manifest of one blob that is there, or was.
func putLoose(t *testing.T, b registry.Backend, d digest.Digest) error {
	t.Helper()
	blob := ocispec.Descriptor{MediaType: "application/x-loose", Digest: d, Size: int64(len("loose"))}
	_, err := putJSON(t.Context(), b, "app", ocispec.MediaTypeImageManifest, ocispec.Manifest{
		MediaType: ocispec.MediaTypeImageManifest, Config: blob, Layers: []ocispec.Descriptor{},
	}, []string{"loose"})
	return err
}
