package content

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// source is one image in containerd.
type source struct {
	at          place
	ref         reference
	rediff      bool   // layers that are not there are made of snapshots
	snapshotter string // of those; "" is the namespace's own
}

var _ pipeline.Source = (*source)(nil)

// Open finds the image, and keeps it until the graph is closed.
func (s *source) Open(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	st, err := s.at.connect(ctx)
	if err != nil {
		return nil, err
	}
	g, err := s.open(ctx, st, q)
	if err != nil {
		return nil, errors.Join(err, st.close(false)) //nolint:contextcheck // it tidies up after a run that was cancelled, too
	}
	return g, nil
}

func (s *source) open(ctx context.Context, st *store, q pipeline.Query) (pipeline.Graph, error) {
	root, err := st.find(ctx, s.ref, q.Limits)
	if err != nil {
		return nil, err
	}
	return st.graph(ctx, []pipeline.Root{root}, q, s.remake)
}

// remake makes layers of snapshots, if that was asked for, and nobody fetches them.
// Nothing is made for a plan.
func (s *source) remake(ctx context.Context, c *content, roots []pipeline.Root, q pipeline.Query) (pipeline.Content, []pipeline.Root, error) {
	if !s.rediff || c.elsewhere != nil || q.Foresight != nil {
		return c, roots, nil
	}
	from, root, err := c.rediff(ctx, roots[0], s.snapshotter, q)
	return from, []pipeline.Root{root}, err
}

// asItIs is for a source that makes nothing.
func asItIs(_ context.Context, c *content, roots []pipeline.Root, _ pipeline.Query) (pipeline.Content, []pipeline.Root, error) {
	return c, roots, nil
}

// graph keeps what roots reach, and opens it, or what remake says instead.
func (s *store) graph(ctx context.Context, roots []pipeline.Root, q pipeline.Query, remake func(context.Context, *content, []pipeline.Root, pipeline.Query) (pipeline.Content, []pipeline.Root, error)) (pipeline.Graph, error) {
	if q.Foresight == nil {
		if err := s.keep(ctx, roots); err != nil {
			return nil, err
		}
	}
	c := &content{store: s, limits: q.Limits, files: s.files(ctx)}
	if q.Missing == pipeline.MissingFetch && q.Elsewhere != nil {
		if name := s.origin(ctx, roots[0]); name != "" {
			c.elsewhere = func(ctx context.Context) (pipeline.Content, error) { return q.Elsewhere(ctx, name) }
		}
	}
	from, roots, err := remake(ctx, c, roots, q)
	if err != nil {
		return nil, err
	}
	// The fallback for layers is ours; whole images are found by Resolve.
	g, err := pipeline.Resolve(ctx, from, roots, q, pipeline.ResolveOptions{}, func() error { return s.close(false) }) //nolint:contextcheck // it tidies up after a run that was cancelled, too
	if errors.Is(err, pipeline.ErrNotFound) && c.lacked.Load() && q.Missing != pipeline.MissingFetch {
		return nil, fmt.Errorf("%w: containerd lacks layers of it, as when it discards them once they are unpacked; --missing=fetch fetches them from their registry, and ?rediff=true of containerd:// rebuilds them from snapshots, with other digests", err)
	}
	return g, err
}

// keep takes a lease for what roots reach.
func (s *store) keep(ctx context.Context, roots []pipeline.Root) error {
	if err := s.takeLease(ctx); err != nil {
		return err
	}
	for _, root := range roots {
		if err := s.protect(ctx, root.Desc.Digest); err != nil {
			return err
		}
	}
	return nil
}

// find looks for an image by its names, then by its digest.
func (s *store) find(ctx context.Context, ref reference, limits pipeline.Limits) (pipeline.Root, error) {
	for _, name := range ref.names {
		i, err := s.cli.ImageService().Get(s.in(ctx), name)
		switch {
		case errdefs.IsNotFound(err):
		case err != nil:
			return pipeline.Root{}, s.explain(ctx, "look for image "+name, err)
		case ref.digest == "" || i.Target.Digest == ref.digest || name == ref.given:
			return rootOf(i), nil
		}
	}
	if ref.digest == "" {
		return pipeline.Root{}, s.notFound(ctx, ref)
	}
	found, err := s.cli.ImageService().List(s.in(ctx), "target.digest=="+ref.digest.String())
	if err != nil {
		return pipeline.Root{}, s.explain(ctx, "look for image "+ref.given, err)
	}
	for _, i := range found {
		if ref.repository == "" || strings.HasPrefix(i.Name, ref.repository+":") || strings.HasPrefix(i.Name, ref.repository+"@") {
			return named(pipeline.Root{Desc: i.Target}, ref.name), nil
		}
	}
	if ref.repository != "" {
		return pipeline.Root{}, s.notFound(ctx, ref)
	}
	return s.manifest(ctx, ref, limits)
}

func rootOf(i images.Image) pipeline.Root {
	return named(pipeline.Root{Desc: i.Target}, fullName(i.Name))
}

// named gives a root a name, if there is one.
func named(r pipeline.Root, name string) pipeline.Root {
	if name != "" {
		r.Names = []string{name}
	}
	return r
}

// manifest finds one that no image names: one of an index, or of an image whose
// name was taken away.
func (s *store) manifest(ctx context.Context, ref reference, limits pipeline.Limits) (root pipeline.Root, err error) {
	info, err := s.blobs().Info(s.in(ctx), ref.digest)
	if errdefs.IsNotFound(err) {
		return root, s.notFound(ctx, ref)
	}
	if err != nil {
		return root, s.explain(ctx, "look for "+ref.given, err)
	}
	root.Desc = ocispec.Descriptor{Digest: ref.digest, Size: info.Size}
	raw, err := (&content{store: s, limits: limits}).Fetch(ctx, root.Desc)
	if err != nil {
		return root, err
	}
	var m struct {
		MediaType string          `json:"mediaType"`
		Config    json.RawMessage `json:"config"`
		Manifests json.RawMessage `json:"manifests"`
	}
	switch err := json.Unmarshal(raw, &m); {
	case err == nil && m.MediaType != "":
		root.Desc.MediaType = m.MediaType
	case err == nil && m.Manifests != nil:
		root.Desc.MediaType = ocispec.MediaTypeImageIndex
	case err == nil && m.Config != nil:
		root.Desc.MediaType = ocispec.MediaTypeImageManifest
	}
	if !pipeline.IsManifest(root.Desc.MediaType) && !pipeline.IsIndex(root.Desc.MediaType) {
		return root, fmt.Errorf("%s in %s is no image: name one by its manifest or index", ref.given, s)
	}
	return root, nil
}

// mostNames is how many images an error lists.
const mostNames = 5

// notFound says which image is not there, and what might have been meant.
func (s *store) notFound(ctx context.Context, ref reference) error {
	said := fmt.Errorf("no image %s in %s: %w", ref.given, s, pipeline.ErrNotFound)
	all, err := s.cli.ImageService().List(s.in(ctx))
	if err != nil {
		return said
	}
	if in := s.elsewhere(ctx, ref); in != "" {
		return fmt.Errorf("%w (namespace %s has it: ?namespace=%[2]s)", said, in)
	}
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
	}
	if near := pipeline.Nearest(ref.names[len(ref.names)-1], names); near != "" {
		return fmt.Errorf("%w (did you mean %s?)", said, near)
	}
	slices.Sort(names)
	switch n := len(names); {
	case n == 0:
		return fmt.Errorf("%w (it has no images)", said)
	case n > mostNames:
		return fmt.Errorf("%w (it has %s and %d more)", said, strings.Join(names[:mostNames], ", "), n-mostNames)
	}
	return fmt.Errorf("%w (it has %s)", said, strings.Join(names, ", "))
}

// elsewhere is another namespace that has the image; "" for none.
func (s *store) elsewhere(ctx context.Context, ref reference) string {
	spaces, err := s.cli.NamespaceService().List(ctx)
	if err != nil {
		return ""
	}
	for _, other := range spaces {
		for _, name := range ref.names {
			if _, err := s.cli.ImageService().Get(namespaces.WithNamespace(ctx, other), name); err == nil && other != s.namespace {
				return other
			}
		}
	}
	return ""
}
