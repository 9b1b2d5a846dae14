//go:build integration

package content_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/client"
	storing "github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/plugin/content"
)

// namespace is the tests' own.
const namespace = "occystrap-test"

// A real is the containerd of the test environment, with a name for one test.
type real struct {
	*client.Client
	ctx     context.Context //nolint:containedctx // of the namespace, for clean-ups too
	address string
	name    string
}

func meet(t testing.TB) *real {
	t.Helper()
	r := &real{address: pipelinetest.Env(t, "OCCYSTRAP_TEST_CONTAINERD")}
	r.ctx = namespaces.WithNamespace(context.WithoutCancel(t.Context()), namespace)
	var err error
	r.Client, err = client.New(r.address)
	must(t, err)
	t.Cleanup(func() { must(t, r.Close()) })
	r.name = r.image(t)
	return r
}

// image is a new name; what has it when the test ends is removed.
func (r *real) image(t testing.TB) string {
	name := "occystrap.test/" + strings.ToLower(rand.Text()) + ":1"
	t.Cleanup(func() {
		if err := r.ImageService().Delete(r.ctx, name, images.SynchronousDelete()); err != nil && !errdefs.IsNotFound(err) {
			t.Error(err)
		}
	})
	return name
}

func (r *real) uri(name string) string {
	return "containerd://" + name + "?namespace=" + namespace + "&address=" + r.address
}

// collect lets containerd remove what nothing refers to.
func (r *real) collect(t testing.TB) {
	t.Helper()
	l, err := r.LeasesService().Create(r.ctx, leases.WithRandomID())
	must(t, err)
	must(t, r.LeasesService().Delete(r.ctx, l, leases.SynchronousDelete))
}

// has says whether the namespace has a blob.
func (r *real) has(t testing.TB, d digest.Digest) bool {
	t.Helper()
	_, err := r.ContentStore().Info(r.ctx, d)
	if err != nil && !errdefs.IsNotFound(err) {
		t.Fatal(err)
	}
	return err == nil
}

// target is the digest that a name has; "" for none.
func (r *real) target(t testing.TB, name string) digest.Digest {
	t.Helper()
	i, err := r.ImageService().Get(r.ctx, name)
	if errdefs.IsNotFound(err) {
		return ""
	}
	must(t, err)
	return i.Target.Digest
}

// put writes an image under a name.
func (r *real) put(t testing.TB, src pipeline.Source, uri string) error {
	t.Helper()
	sink, err := schemes(content.Config{Events: details(t)}).Sink(uri)
	must(t, err)
	return run(t, src, sink)
}

func run(t testing.TB, src pipeline.Source, sink pipeline.Sink) error {
	_, err := pipeline.Run(t.Context(), src, nil, sink, pipeline.Options{Query: pipeline.Query{Platforms: pipeline.Platforms{All: true}}})
	return err
}

// details are errors where all is expected to be done by us.
func details(t testing.TB) pipeline.Events {
	return func(e pipeline.Event) {
		if e.Kind == pipeline.EventDetail {
			t.Error(e.Message)
		}
	}
}

func (r *real) open(t testing.TB, uri string, q pipeline.Query) (pipeline.Graph, error) {
	t.Helper()
	src, err := schemes(content.Config{}).Source(uri)
	must(t, err)
	return src.Open(t.Context(), q)
}

// read opens every layer of an image to its end.
func (r *real) read(t testing.TB, uri string, q pipeline.Query) error {
	t.Helper()
	g, err := r.open(t, uri, q)
	if err != nil {
		return err
	}
	return errors.Join(readAll(t, g), g.Close())
}

func readAll(t testing.TB, g pipeline.Graph) error {
	t.Helper()
	for l, err := range g.Layers(t.Context()) {
		if err != nil {
			return err
		}
		rc, err := l.Open(t.Context())
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, rc)
		if err = errors.Join(err, rc.Close()); err != nil {
			return err
		}
	}
	return nil
}

// unique is an image that no other test has, and its only layer.
func unique(t testing.TB, s *pipelinetest.Store, platform string) (desc ocispec.Descriptor, layer digest.Digest) {
	t.Helper()
	plain := pipelinetest.Tar(t, pipelinetest.File{Name: "unique", Body: rand.Text()})
	desc = s.Image(t, pipelinetest.Image{Platform: platform, Compression: pipeline.Gzip, Layers: [][]byte{plain}})
	return desc, digest.FromBytes(pipelinetest.Compress(t, pipeline.Gzip, plain))
}

func TestContainerdConforms(t *testing.T) {
	t.Parallel()
	for query, end := range map[string]pipelinetest.End{"": {}, "&unpack=false": {}} {
		t.Run("with"+query, func(t *testing.T) {
			t.Parallel()
			r := meet(t)
			end.Sink = func(t *testing.T) (pipeline.Sink, func() (pipeline.Source, error)) {
				uri := r.uri(r.image(t))
				sink, err := schemes(content.Config{}).Sink(uri + query)
				must(t, err)
				return sink, func() (pipeline.Source, error) { return schemes(content.Config{}).Source(uri) }
			}
			pipelinetest.TestEnd(t, end)
		})
	}
}

// All of an index has labels by which its name keeps it; without the name all
// of it goes.
func TestCollectorKeepsWhatAnIndexReaches(t *testing.T) {
	t.Parallel()
	r, s := meet(t), pipelinetest.NewStore()
	amd, amdLayer := unique(t, s, "linux/amd64")
	arm, armLayer := unique(t, s, "linux/arm64")
	index := s.Index(t, amd, arm, s.Attestation(t, amd.Digest))
	must(t, r.put(t, s.Source(index, r.name), r.uri(r.name)))
	r.collect(t)
	must(t, r.read(t, r.uri(r.name), pipeline.Query{Platforms: pipeline.Platforms{All: true}, Missing: pipeline.MissingFail}))
	must(t, r.read(t, r.uri(arm.Digest.String()), pipeline.Query{})) // a manifest that no image names
	must(t, r.ImageService().Delete(r.ctx, r.name, images.SynchronousDelete()))
	for _, d := range []digest.Digest{index.Digest, amd.Digest, amdLayer, armLayer} {
		if r.has(t, d) {
			t.Errorf("%s is still there", d)
		}
	}
}

// A run that fails leaves the image that had the name, and no bytes.
func TestFailedRunLeavesTheImageThatWasThere(t *testing.T) {
	t.Parallel()
	r, s := meet(t), pipelinetest.NewStore()
	was, _ := unique(t, s, "linux/amd64")
	must(t, r.put(t, s.Source(was, r.name), r.uri(r.name)))
	next := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{
		pipelinetest.Tar(t, pipelinetest.File{Name: "good", Body: rand.Text()}),
		pipelinetest.Tar(t, pipelinetest.File{Name: "bad", Body: rand.Text()}),
	}})
	layers := layersOf(t, s, next)
	s.Corrupt(layers[1], []byte("damaged"))
	if err := r.put(t, s.Source(next, r.name), r.uri(r.name)); err == nil {
		t.Error("a damaged layer was accepted")
	}
	if got := r.target(t, r.name); got != was.Digest {
		t.Errorf("the name has %q, had %s", got, was.Digest)
	}
	for _, d := range append(layers, next.Digest) {
		if r.has(t, d) {
			t.Errorf("%s is there", d)
		}
	}
	good, _ := unique(t, s, "linux/amd64")
	must(t, r.put(t, s.Source(good, r.name), r.uri(r.name)))
	if got := r.target(t, r.name); got != good.Digest {
		t.Errorf("the name has %q, want %s", got, good.Digest)
	}
}

func layersOf(t testing.TB, s *pipelinetest.Store, image ocispec.Descriptor) (out []digest.Digest) {
	t.Helper()
	var m ocispec.Manifest
	decode(t, s.Bytes(image.Digest), &m)
	for _, l := range m.Layers {
		out = append(out, l.Digest)
	}
	return out
}

// An image that is deleted while it is read can be read to its end, and is
// gone then.
func TestDeletedMeanwhileIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	r, s := meet(t), pipelinetest.NewStore()
	desc, layer := unique(t, s, "linux/amd64")
	must(t, r.put(t, s.Source(desc, r.name), r.uri(r.name)))
	g, err := r.open(t, r.uri(r.name), pipeline.Query{})
	must(t, err)
	must(t, r.ImageService().Delete(r.ctx, r.name, images.SynchronousDelete()))
	must(t, readAll(t, g))
	must(t, g.Close())
	r.collect(t)
	if r.has(t, layer) {
		t.Error("the layer is still there")
	}
	if err := r.read(t, r.uri(r.name), pipeline.Query{}); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("error is %v; want not found", err)
	}
}

// Bytes that rotted on the disk are noticed, whether they are read by file or by
// containerd.
func TestDamagedBlobIsNoticed(t *testing.T) {
	t.Parallel()
	r, s := meet(t), pipelinetest.NewStore()
	desc, layer := unique(t, s, "linux/amd64")
	must(t, r.put(t, s.Source(desc, r.name), r.uri(r.name)))
	found, err := r.IntrospectionService().Plugins(r.ctx, "type=="+string(plugins.ContentPlugin))
	must(t, err)
	path := filepath.Join(found.Plugins[0].Exports["root"], "blobs", "sha256", layer.Encoded())
	raw, err := os.ReadFile(path)
	must(t, err)
	raw[len(raw)/2] ^= 1
	must(t, os.WriteFile(path, raw, 0o444))
	if err := r.read(t, r.uri(r.name), pipeline.Query{}); !errors.Is(err, pipeline.ErrDigest) {
		t.Errorf("error is %v; want a digest mismatch", err)
	}
}

// Layers that containerd discarded are an error that names the remedy; the
// remedy fetches them from where the image came from.
func TestDiscardedLayersAreFetchedOnRequest(t *testing.T) {
	t.Parallel()
	r, s := meet(t), pipelinetest.NewStore()
	desc, layer := unique(t, s, "linux/amd64")
	must(t, r.put(t, s.Source(desc, r.name), r.uri(r.name)))
	must(t, r.ContentStore().Delete(r.ctx, layer))
	if err := r.read(t, r.uri(r.name), pipeline.Query{}); !errors.Is(err, pipeline.ErrNotFound) || !strings.Contains(err.Error(), "--missing=fetch") {
		t.Errorf("error is %v; want the remedy", err)
	}
	var asked string
	q := pipeline.Query{Missing: pipeline.MissingFetch, Elsewhere: func(_ context.Context, name string) (pipeline.Content, error) {
		asked = name
		return s, nil
	}}
	must(t, r.read(t, r.uri(r.name), q))
	if asked != r.name {
		t.Errorf("%q was asked, want %s", asked, r.name)
	}
	const source = "containerd.io/distribution.source.far.example"
	_, err := r.ContentStore().Update(r.ctx, storing.Info{Digest: desc.Digest, Labels: map[string]string{source: "team/app"}}, "labels."+source)
	must(t, err)
	must(t, r.read(t, r.uri(r.name), q))
	if want := "far.example/team/app"; asked != want {
		t.Errorf("%q was asked, want %s", asked, want)
	}
}

// What is not there is told with what might have been meant.
func TestMissingImageNamesOthers(t *testing.T) {
	t.Parallel()
	r, s := meet(t), pipelinetest.NewStore()
	desc, _ := unique(t, s, "linux/amd64")
	must(t, r.put(t, s.Source(desc, r.name), r.uri(r.name)))
	for uri, want := range map[string]string{
		r.uri(r.name + "2"): "did you mean " + r.name + "?",
		"containerd://" + r.name + "?namespace=occystrap-none&address=" + r.address: "?namespace=" + namespace,
		r.uri(digest.FromString(rand.Text()).String()):                              "no image sha256:",
		r.uri(r.name + "@" + digest.FromString(rand.Text()).String()):               "no image ",
	} {
		if err := r.read(t, uri, pipeline.Query{}); !errors.Is(err, pipeline.ErrNotFound) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v; want %q", uri, err, want)
		}
	}
	spaces, err := r.NamespaceService().List(r.ctx)
	must(t, err)
	if slices.Contains(spaces, "occystrap-none") {
		t.Error("to look into a namespace has made it")
	}
	for _, ref := range []string{desc.Digest.String(), r.name + "@" + desc.Digest.String(), strings.TrimSuffix(r.name, ":1") + "@" + desc.Digest.String()} {
		must(t, r.read(t, r.uri(ref), pipeline.Query{}))
	}
}

// Without a name containerd keeps nothing, and says so; an image for another
// machine is not unpacked.
func TestNamesOfTheSourceAreKept(t *testing.T) {
	t.Parallel()
	r, s := meet(t), pipelinetest.NewStore()
	desc, _ := unique(t, s, "linux/s390x")
	index := s.Index(t, desc)
	must(t, r.put(t, s.Source(index, r.name), r.uri("")))
	if got := r.target(t, r.name); got != index.Digest {
		t.Errorf("the name has %q, want %s", got, index.Digest)
	}
	var usage *pipeline.UsageError
	if err := r.put(t, s.Source(desc), r.uri("")); !errors.As(err, &usage) {
		t.Errorf("error is %v; want a usage error", err)
	}
}

// chainOf is the name of the snapshot that layers become.
func chainOf(diffIDs []digest.Digest) string {
	return identity.ChainID(slices.Clone(diffIDs)).String()
}
