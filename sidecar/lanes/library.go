package lanes

import (
	"context"
	"errors"
	"maps"
	"os"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// mostReached is of how many images it is kept what they reach, until the database
// changes: a pull asks for its image dozens of times.
const mostReached = 256

// A Library is the images of one containerd by their names, in the namespaces that
// its settings list. Who lends of it says to whom: it asks nobody who he is.
type Library struct{ store *store }

// Libraries are the containerds of the settings, in their order. What their
// databases say is kept once for them and for the control socket.
func (s *Server) Libraries() []*Library {
	var all []*Library
	for _, c := range s.cfg.Containerd {
		all = append(all, &Library{s.stores[c.Name]})
	}
	return all
}

// An Image is one that has a name in a namespace.
type Image struct {
	Namespace string
	// Tag is "" for a name that has none.
	Tag    string
	Target digest.Digest
}

// Images are those with the name repository, which is whole (docker.io/library/x),
// in the order of the settings' namespaces. A containerd that is not there has none.
func (l *Library) Images(ctx context.Context, repository string) ([]Image, error) {
	known, err := l.store.catalog(ctx)
	if errors.Is(err, pipeline.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Image
	for _, namespace := range l.store.Namespaces {
		for tag, d := range maps.All(known.spaces[namespace].repositories[repository]) {
			if tag == d.String() {
				tag = ""
			}
			all = append(all, Image{namespace, tag, d})
		}
	}
	return all, nil
}

// Reach is the media type of a blob that an image reaches, as its parent gives it;
// pipeline.ErrNotFound where it reaches none with that digest that is there.
func (l *Library) Reach(ctx context.Context, i Image, d digest.Digest) (mediaType string, err error) {
	all, err := l.reach(ctx, i)
	if err != nil {
		return "", err
	}
	r, ok := all[d]
	if !ok {
		return "", pipeline.ErrNotFound
	}
	return r.mediaType, nil
}

// Referrers are the manifests that an image reaches and that have a subject, by media
// type and digest, in no order: signatures, SBOMs and the like that are kept with the
// image, or have a name themselves.
func (l *Library) Referrers(ctx context.Context, i Image, subject digest.Digest) (list []ocispec.Descriptor, err error) {
	all, err := l.reach(ctx, i)
	if err != nil {
		return nil, err
	}
	for d, r := range all {
		if r.speaksOf == subject {
			list = append(list, ocispec.Descriptor{MediaType: r.mediaType, Digest: d})
		}
	}
	return list, nil
}

func (l *Library) reach(ctx context.Context, i Image) (grant, error) {
	known, err := l.store.catalog(ctx)
	if err != nil {
		return nil, err
	}
	return l.store.reachOnce(known, i)
}

// reachOnce walks an image's manifests the first time that it is asked for.
func (s *store) reachOnce(known *catalog, i Image) (grant, error) {
	who := subject{s, i.Namespace, i.Target}
	known.mu.Lock()
	reached, ok := known.reached[who]
	known.mu.Unlock()
	if ok {
		return reached, nil
	}
	reached, err := s.reach(known.spaces[i.Namespace], i.Target)
	if err != nil {
		return nil, err
	}
	known.mu.Lock()
	defer known.mu.Unlock()
	if known.reached == nil || len(known.reached) >= mostReached {
		known.reached = map[subject]grant{}
	}
	known.reached[who] = reached
	return reached, nil
}

// Open opens a blob that Reach has found, and says its size. The caller closes it.
func (l *Library) Open(d digest.Digest) (*os.File, int64, error) {
	f, info, err := l.store.open(d)
	if err != nil {
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// Manifest reads a manifest or index that Reach has found, and checks its digest.
func (l *Library) Manifest(d digest.Digest) (ocispec.Descriptor, []byte, error) {
	raw, err := l.store.manifest(d)
	return ocispec.Descriptor{Digest: d, Size: int64(len(raw))}, raw, err
}
