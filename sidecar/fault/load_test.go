//go:build unix

package fault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/sidecar/proxy/proxytest"
)

// what a repository's tags may lead to: "" is that there is no such tag. Of an
// operation that was answered one thing is left; of one that was cut, both may be.
type allowed map[digest.Digest]bool

// A worker does things to a repository that nobody else changes, so that it knows
// what must be there.
type worker struct {
	name   string
	c      *proxytest.Client
	repo   string
	store  *pipelinetest.Store
	images []ocispec.Descriptor
	// stored is under which digest an image is kept, once that was seen.
	stored map[digest.Digest]digest.Digest
	tags   map[string]allowed
	rand   *rand.Rand
	pulls  bool // it only pulls, from the upstream
	// down is where images are kept, if that is not the proxy: nothing is deleted there
	// through it.
	down *proxytest.Registry
	// last is what was done last; it is done again after a kill.
	last func(ctx context.Context) error
	done int // operations that were answered
}

const workerTags = 3

func newWorker(t *testing.T, base, repo string, seed uint64) *worker {
	t.Helper()
	w := &worker{
		name: repo, c: client(t, base), repo: repo, store: pipelinetest.NewStore(), stored: map[digest.Digest]digest.Digest{}, tags: map[string]allowed{},
		rand: rand.New(rand.NewPCG(seed, 1)),
	}
	w.images = proxytest.Images(t, w.store, seed, 6)
	for i := range workerTags {
		w.tags[fmt.Sprint("t", i)] = allowed{"": true}
	}
	return w
}

// client has connections of its own, so that a kill ends no one else's.
func client(t *testing.T, base string) *proxytest.Client {
	t.Helper()
	tr := &http.Transport{MaxIdleConnsPerHost: 4}
	t.Cleanup(tr.CloseIdleConnections)
	return &proxytest.Client{Base: base, HTTP: &http.Client{Transport: tr}}
}

// step does something at random.
func (w *worker) step(ctx context.Context) error {
	image := w.images[w.rand.IntN(len(w.images))]
	tag := fmt.Sprint("t", w.rand.IntN(workerTags))
	kind := w.rand.IntN(10)
	switch {
	case w.pulls:
		ref := tag
		if kind < 5 {
			ref = image.Digest.String()
		}
		w.last = func(ctx context.Context) error { return w.pull(ctx, ref) }
	case kind < 7, w.down != nil && kind < 9:
		w.last = func(ctx context.Context) error { return w.push(ctx, image, tag) }
	case kind < 8:
		w.last = func(ctx context.Context) error { return w.untag(ctx, tag) }
	case kind < 9:
		w.last = func(ctx context.Context) error { return w.remove(ctx, image) }
	default:
		w.last = func(ctx context.Context) error { return w.check(ctx) }
	}
	err := w.last(ctx)
	if err == nil {
		w.done++
	}
	return err
}

func (w *worker) pull(ctx context.Context, ref string) error {
	_, err := w.c.Pull(ctx, w.repo, ref, "ns=up.example")
	return err
}

// push moves a tag.
func (w *worker) push(ctx context.Context, image ocispec.Descriptor, tag string) error {
	if kept, ok := w.stored[image.Digest]; ok {
		w.tags[tag][kept] = true
	} else {
		w.tags[tag][any] = true
	}
	kept, err := w.c.Push(ctx, w.repo, w.store, image, tag)
	if err != nil {
		return err
	}
	if was, ok := w.stored[image.Digest]; ok && was != kept {
		return fmt.Errorf("image %s was kept as %s, and now as %s", image.Digest, was, kept)
	}
	w.stored[image.Digest] = kept
	w.tags[tag] = allowed{kept: true}
	return nil
}

// any stands for a digest that nobody knows yet.
const any = digest.Digest("any")

func (w *worker) untag(ctx context.Context, tag string) error {
	w.tags[tag][""] = true
	if err := w.delete(ctx, tag); err != nil {
		return err
	}
	w.tags[tag] = allowed{"": true}
	return nil
}

// remove deletes an image, and so all tags that lead to it.
func (w *worker) remove(ctx context.Context, image ocispec.Descriptor) error {
	kept, ok := w.stored[image.Digest]
	if !ok {
		return nil
	}
	for _, a := range w.tags {
		if a[kept] || a[any] {
			a[""] = true
		}
	}
	if err := w.delete(ctx, kept.String()); err != nil {
		return err
	}
	for tag, a := range w.tags {
		if delete(a, kept); len(a) == 0 {
			w.tags[tag] = allowed{"": true}
		}
	}
	return nil
}

func (w *worker) delete(ctx context.Context, ref string) error {
	a, err := w.c.Do(ctx, http.MethodDelete, "/v2/"+w.repo+"/manifests/"+ref, nil)
	if err == nil && a.Status != http.StatusAccepted && a.Status != http.StatusNotFound {
		err = &proxytest.StatusError{What: "delete " + ref, Answer: a}
	}
	return err
}

// check pulls all tags: each leads to something that may be there, whole. From then on
// it is known which.
func (w *worker) check(ctx context.Context) error {
	if w.pulls {
		return nil
	}
	listed, err := w.c.Tags(ctx, w.repo)
	if err != nil {
		return err
	}
	for _, tag := range slices.Sorted(maps.Keys(w.tags)) {
		got, err := tagged(ctx, w.c, w.repo, tag)
		if err != nil {
			return err
		}
		if err := w.below(ctx, tag, got); err != nil {
			return err
		}
		if may := w.tags[tag]; !may[got] && (got == "" || !may[any]) {
			return fmt.Errorf("tag %s of %s leads to %q; it may be %v", tag, w.repo, got, slices.Collect(maps.Keys(may)))
		}
		if there := slices.Contains(listed, tag); there != (got != "") {
			return fmt.Errorf("tag %s of %s: listed is %v, and it leads to %q", tag, w.repo, there, got)
		}
		w.tags[tag] = allowed{got: true}
	}
	return nil
}

// tagged pulls what a tag leads to, whole; "" is that there is no such tag.
func tagged(ctx context.Context, c *proxytest.Client, repo, tag string) (digest.Digest, error) {
	got, err := c.Pull(ctx, repo, tag, "")
	var status *proxytest.StatusError
	if errors.As(err, &status) && status.Status == http.StatusNotFound && strings.HasPrefix(status.What, "GET /v2/"+repo+"/manifests/"+tag) {
		err = nil
	}
	if err != nil {
		return "", fmt.Errorf("tag %s of %s: %w", tag, repo, err)
	}
	return got, nil
}
