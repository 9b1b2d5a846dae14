package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// A Sink is one name in a registry. Blobs and manifests go up by digest while a
// run goes on; the name points to them when Publish has put it.
type Sink struct {
	client      *client
	compression pipeline.Compression
	recompress  pipeline.Recompress
	foresees    bool     // nothing is mounted
	names       []string // what roots are put as; nil: as the reference says

	mu       sync.Mutex
	held     map[digest.Digest]bool     // blobs that the repository has for certain
	sessions map[digest.Digest]*url.URL // uploads that a refused mount has opened
	roots    []pipeline.Manifest
	byDigest int // of roots: how many are there by their digest

	tags     []tagged                               // of referrers
	subjects []digest.Digest                        // of unlisted, in their order
	unlisted map[digest.Digest][]ocispec.Descriptor // referrers that the registry did not list itself
}

var (
	_ pipeline.Sink    = (*Sink)(nil)
	_ pipeline.Mounter = (*Sink)(nil)
	_ pipeline.Limited = (*Sink)(nil)

	_ pipeline.Placed   = (*Sink)(nil)
	_ pipeline.Reopener = (*Sink)(nil)
	_ pipeline.Foreseer = (*Sink)(nil)
)

func newSink(c *client, cfg Config) *Sink {
	return &Sink{
		client: c, compression: cfg.Compression, recompress: cfg.Recompress,
		held: map[digest.Digest]bool{}, sessions: map[digest.Digest]*url.URL{}, unlisted: map[digest.Digest][]ocispec.Descriptor{},
	}
}

// Capacity is one image or index: there is one name.
func (s *Sink) Capacity(context.Context) (pipeline.Capacity, error) {
	return pipeline.Capacity{OneName: true}, nil
}

// Plan asks the repository whether it holds the layer, and lets it take the
// layer from another repository of the same registry. A layer that must be
// compressed otherwise is not asked for: what it will become is not known.
func (s *Sink) Plan(ctx context.Context, l pipeline.Layer) (pipeline.Plan, error) {
	if len(l.Blob.URLs) > 0 {
		return pipeline.Plan{Held: true}, nil // it stays where its URLs point
	}
	plan, recoded := s.encoding(l)
	if recoded {
		return plan, nil
	}
	var err error
	if plan.Held, err = s.holds(ctx, l.Blob.Digest); err != nil {
		return pipeline.Plan{}, s.client.explain(err, "look for blob "+l.Blob.Digest.String())
	}
	if !plan.Held && !s.foresees && s.MayMount(l) {
		plan.Held = s.mount(ctx, l)
	}
	return plan, nil
}

// Foresee makes Plan ask and nothing else.
func (s *Sink) Foresee() { s.foresees = true }

// Place names the repository, for others of the registry to mount from.
func (s *Sink) Place() string { return s.client.ref.Origin() }

// Open reads a blob back. The caller closes it.
func (s *Sink) Open(ctx context.Context, blob ocispec.Descriptor) (io.ReadCloser, error) {
	return s.client.openBlob(ctx, blob)
}

// encoding is how a layer is wanted, and whether that is surely other than it
// comes, by the compression that it claims to have.
func (s *Sink) encoding(l pipeline.Layer) (plan pipeline.Plan, recoded bool) {
	if l.Role == pipeline.Opaque {
		return plan, false
	}
	claimed := pipeline.LayerCompression(l.Blob.MediaType)
	plan.Encoding.Recompress = s.recompress
	switch s.compression { //nolint:exhaustive // what is claimed is one of them
	case "":
		plan.IfPlain = pipeline.Gzip
		return plan, claimed == pipeline.Plain
	case claimed:
		plan.IfPlain = s.compression
		return plan, false
	}
	plan.Encoding.Compression = s.compression
	return plan, true
}

// MayMount says whether the layer comes from another repository of this
// registry.
func (s *Sink) MayMount(l pipeline.Layer) bool {
	host, from, ok := strings.Cut(l.Origin, "/")
	ref := s.client.ref
	return ok && strings.EqualFold(host, ref.Host) && from != ref.Repository && repositoryPattern.MatchString(from)
}

// holds says whether the repository has a blob.
func (s *Sink) holds(ctx context.Context, d digest.Digest) (bool, error) {
	if d == "" { // it still arrives (pipeline.Early)
		return false, nil
	}
	if err := d.Validate(); err != nil {
		return false, err
	}
	s.mu.Lock()
	held := s.held[d]
	s.mu.Unlock()
	if held {
		return true, nil
	}
	c := s.client
	resp, err := c.do(ctx, call{method: http.MethodHead, url: c.url("blobs/" + d.String()), scope: c.auth.scope})
	if errors.Is(err, pipeline.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	discard(resp)
	s.hold(d)
	return true, nil
}

// hold notes that the repository has a blob.
func (s *Sink) hold(d digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[d] = true
}

// mount asks the registry to take a blob from the repository that it came from.
// A registry that will not opens an upload instead (distribution-spec,
// "Mounting a blob from another repository"), which the layer then goes on with.
func (s *Sink) mount(ctx context.Context, l pipeline.Layer) bool {
	c := s.client
	_, from, _ := strings.Cut(l.Origin, "/")
	d := l.Blob.Digest
	u := c.url("blobs/uploads/")
	u.RawQuery = url.Values{"mount": {d.String()}, "from": {from}}.Encode()
	resp, err := c.do(ctx, call{method: http.MethodPost, url: u, scope: c.auth.scope.and(pullScope(from))})
	if err != nil {
		c.detail("mount %s from %s: %v", d, from, err)
		return false // it can still be sent
	}
	defer discard(resp)
	if resp.StatusCode == http.StatusCreated {
		s.hold(d)
		return true
	}
	if session, err := c.location(resp); err == nil {
		s.mu.Lock()
		s.sessions[d] = session
		s.mu.Unlock()
	}
	return false
}

// Layer starts an upload. The bytes go out as they are written; a small layer
// goes out when it is committed.
func (s *Sink) Layer(ctx context.Context, _ int, l pipeline.Layer) (pipeline.LayerWriter, error) {
	s.mu.Lock()
	session := s.sessions[l.Blob.Digest]
	delete(s.sessions, l.Blob.Digest)
	s.mu.Unlock()
	return newUpload(ctx, s, session), nil
}

// Commit puts a child by its digest, and its config before it. A root waits for
// Publish.
func (s *Sink) Commit(ctx context.Context, m pipeline.Manifest) error {
	if err := s.config(ctx, m); err != nil {
		return err
	}
	switch {
	case m.Refers != nil:
		return s.commitReferrer(ctx, m)
	case !m.Root:
		_, err := s.put(ctx, m, m.Desc.Digest.String())
		return err
	}
	if want := s.client.ref.Digest; want != "" && want != want.Algorithm().FromBytes(m.Raw) {
		return pipeline.Usage("the destination %s@%s names a digest, but the image is %s; name a tag", s.client.ref.Origin(), want, m.Desc.Digest)
	}
	if len(s.roots) > 0 && s.roots[0].Desc.Digest != m.Desc.Digest {
		return pipeline.Usage("%s can hold one image and there are several; choose one of the source's", s.client.ref)
	}
	s.roots = []pipeline.Manifest{m}
	return nil
}

// config uploads the blob that a manifest names as its config.
func (s *Sink) config(ctx context.Context, m pipeline.Manifest) error {
	if m.Config == nil {
		return nil
	}
	var manifest struct {
		Config ocispec.Descriptor `json:"config"`
	}
	if err := json.Unmarshal(m.Raw, &manifest); err != nil {
		return fmt.Errorf("read manifest %s: %w", m.Desc.Digest, err)
	}
	return s.putBlob(ctx, manifest.Config.Digest, m.Config, nil)
}

// Publish puts the root under its name.
func (s *Sink) Publish(ctx context.Context) error {
	if err := s.publishReferrers(ctx); err != nil {
		return err
	}
	for _, m := range s.roots {
		for _, name := range s.namesOf(m) {
			if _, err := s.put(ctx, m, name); err != nil {
				return err
			}
		}
	}
	s.roots = nil
	return nil
}

// namesOf are what a root is put as.
func (s *Sink) namesOf(m pipeline.Manifest) []string {
	switch ref := s.client.ref; {
	case len(s.names) > 0:
		return s.names
	case ref.Tag != "":
		return []string{ref.Tag}
	default:
		return []string{m.Desc.Digest.String()}
	}
}

// Close gives up the uploads that were opened and not used, and connections.
func (s *Sink) Close() error {
	s.mu.Lock()
	sessions := slices.Collect(maps.Values(s.sessions))
	clear(s.sessions)
	s.mu.Unlock()
	var all sync.WaitGroup
	for _, u := range sessions {
		all.Go(func() { s.client.abandon(context.Background(), u) })
	}
	all.Wait()
	s.client.transport.close()
	return nil
}
