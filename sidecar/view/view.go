package view

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/lanes"
)

// A Library has images by their names; lanes.Library is one.
type Library interface {
	Images(ctx context.Context, repository string) ([]lanes.Image, error)
	Reach(ctx context.Context, i lanes.Image, d digest.Digest) (mediaType string, err error)
	Referrers(ctx context.Context, i lanes.Image, subject digest.Digest) ([]ocispec.Descriptor, error)
	Open(d digest.Digest) (*os.File, int64, error)
	Manifest(d digest.Digest) (ocispec.Descriptor, []byte, error)
}

var _ Library = (*lanes.Library)(nil)

// New is a registry over libraries. Where two have a name, the first has it. log is
// told of what goes wrong here, and may be nil.
func New(libraries []Library, log *slog.Logger) http.Handler {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	h := registry.New(backend(libraries), registry.Options{Failed: func(r *http.Request, err error) {
		log.Error("the view could not answer", "path", r.URL.Path, "error", err)
	}})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, as, err := read(r)
		var refusal *registry.Error
		if errors.As(err, &refusal) { // all are
			registry.Headers(w)
			refusal.Answer(w)
			return
		}
		h.ServePath(w, r, p, as)
	})
}

func backend(libraries []Library) registry.Backend {
	s := shelves(libraries)
	return registry.Backend{Blobs: blobs{s}, Manifests: manifests{s}, Tags: tags{s}, Referrers: referrers{s}}
}

// shelves look for names.
type shelves []Library

// A found image is one in its library.
type found struct {
	in    Library
	image lanes.Image
}

// images are those of a repository, ErrNotFound where it has none.
func (s shelves) images(ctx context.Context, repository string) ([]found, error) {
	var all []found
	for _, l := range s {
		is, err := l.Images(ctx, repository)
		if err != nil {
			return nil, err
		}
		for _, i := range is {
			all = append(all, found{l, i})
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("repository %s: %w", repository, pipeline.ErrNotFound)
	}
	return all, nil
}

// reach finds the library in which an image of the repository reaches a blob.
func (s shelves) reach(ctx context.Context, repository string, d digest.Digest) (Library, string, error) {
	images, err := s.images(ctx, repository)
	if err != nil {
		return nil, "", err
	}
	for _, f := range images {
		switch mediaType, err := f.in.Reach(ctx, f.image, d); {
		case err == nil:
			return f.in, mediaType, nil
		case !errors.Is(err, pipeline.ErrNotFound):
			return nil, "", err
		}
	}
	return nil, "", fmt.Errorf("%s in %s: %w", d, repository, pipeline.ErrNotFound)
}

// blobs are what images reach.
type blobs struct{ shelves }

var _ registry.Blobs = blobs{}

func (b blobs) Stat(ctx context.Context, repository string, d digest.Digest) (int64, error) {
	f, size, err := b.file(ctx, repository, d)
	if err != nil {
		return 0, err
	}
	return size, f.Close()
}

func (b blobs) Open(ctx context.Context, repository string, d digest.Digest, offset int64) (io.ReadCloser, error) {
	f, _, err := b.file(ctx, repository, d)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (b blobs) file(ctx context.Context, repository string, d digest.Digest) (*os.File, int64, error) {
	in, _, err := b.reach(ctx, repository, d)
	if err != nil {
		return nil, 0, err
	}
	return in.Open(d)
}

func (blobs) Mount(context.Context, string, string, digest.Digest) error { return errReadOnly }
func (blobs) Delete(context.Context, string, digest.Digest) error        { return errReadOnly }

// errReadOnly answers whoever would change something.
var errReadOnly = &registry.Error{
	Code: registry.Denied, Status: http.StatusMethodNotAllowed,
	Message: "this is a view of the images that the engine holds; push to the engine, or to a registry",
}

// manifests are the images themselves.
type manifests struct{ shelves }

var _ registry.Manifests = manifests{}

func (m manifests) Stat(ctx context.Context, repository string, ref registry.Ref) (ocispec.Descriptor, error) {
	in, desc, err := m.find(ctx, repository, ref)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	f, size, err := in.Open(desc.Digest)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc.Size = size
	return desc, f.Close()
}

func (m manifests) Get(ctx context.Context, repository string, ref registry.Ref) (ocispec.Descriptor, []byte, error) {
	in, desc, err := m.find(ctx, repository, ref)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	read, raw, err := in.Manifest(desc.Digest)
	read.MediaType = desc.MediaType
	return read, raw, err
}

// find finds a manifest by tag or digest; the size is left out.
func (m manifests) find(ctx context.Context, repository string, ref registry.Ref) (Library, ocispec.Descriptor, error) {
	d := ref.Digest
	if d == "" {
		images, err := m.images(ctx, repository)
		if err != nil {
			return nil, ocispec.Descriptor{}, err
		}
		i := slices.IndexFunc(images, func(f found) bool { return f.image.Tag == ref.Tag })
		if i < 0 {
			return nil, ocispec.Descriptor{}, fmt.Errorf("tag %s of %s: %w", ref.Tag, repository, pipeline.ErrNotFound)
		}
		d = images[i].image.Target
	}
	in, mediaType, err := m.reach(ctx, repository, d)
	if err == nil && !pipeline.IsIndex(mediaType) && !pipeline.IsManifest(mediaType) {
		err = fmt.Errorf("%s in %s is no manifest: %w", d, repository, pipeline.ErrNotFound)
	}
	return in, ocispec.Descriptor{MediaType: mediaType, Digest: d}, err
}

func (manifests) Put(context.Context, string, registry.Manifest, []string) error { return errReadOnly }

func (manifests) Delete(context.Context, string, digest.Digest) error { return errReadOnly }

// tags are the names that images have.
type tags struct{ shelves }

var _ registry.Tags = tags{}

func (t tags) List(ctx context.Context, repository, last string, n int) ([]string, error) {
	images, err := t.images(ctx, repository)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, f := range images {
		if f.image.Tag > last { // "" is no tag
			list = append(list, f.image.Tag)
		}
	}
	slices.Sort(list)
	list = slices.Compact(list)
	return list[:min(n, len(list))], nil
}

func (tags) Delete(context.Context, string, string) error { return errReadOnly }
