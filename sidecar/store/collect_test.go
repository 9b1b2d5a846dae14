package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/store"
)

// clock is one that a test sets.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

const layerSize = 100_000

// layer is one that no other image has.
func layer(name string) []byte {
	return bytes.Repeat([]byte(name+" "), layerSize/(len(name)+1)+1)[:layerSize]
}

// world is a store with a clock for the time of day and one for what passes.
type world struct {
	*store.Store
	t           *testing.T
	day, steady *clock
}

func newWorld(t *testing.T, o store.Options) *world {
	t.Helper()
	w := &world{t: t, day: newClock(), steady: newClock()}
	o.Now = w.day.now
	w.Store = open(t, t.TempDir(), o)
	w.SetSteady(w.steady.now)
	return w
}

// pass lets time pass, for which nothing is used.
func (w *world) pass(d time.Duration) {
	w.day.add(d)
	w.steady.add(d)
}

// push pushes an image under its name as the tag, and lets time pass.
func (w *world) push(b registry.Backend, repository, name string, layers ...[]byte) {
	w.t.Helper()
	must(push(w.t.Context(), b, repository, name, nil, []string{name}, layers...))(w.t)
	w.pass(time.Hour)
}

func (w *world) collect() store.Collected {
	w.t.Helper()
	c, err := w.Collect(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func spaces() map[string]store.SpaceOptions {
	return map[string]store.SpaceOptions{"durable": {}, "volatile": {Volatile: true}}
}

func TestUnusedImagesGoPastTheHighMark(t *testing.T) {
	t.Parallel()
	for name, o := range spaces() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, store.Options{High: 6 * layerSize, Low: 4.5 * layerSize})
			b := w.Space("s", o).Backend()
			for i := range 5 { // and the background sees no reason to collect
				w.push(b, "app", fmt.Sprint("v", i), layer(fmt.Sprint("v", i)))
			}
			if _, err := w.Pin(t.Context(), "app:v1"); err != nil {
				t.Fatal(err)
			}
			if !has(t, b, "app", "v0") { // the oldest is used again
				t.Fatal("nothing may be gone yet")
			}
			w.pass(time.Hour)
			w.push(b, "app", "v5", layer("v5"))
			w.collect() // or the background has
			var left []string
			for i := range 6 {
				if has(t, b, "app", fmt.Sprint("v", i)) {
					left = append(left, fmt.Sprint("v", i))
				}
			}
			if want := []string{"v0", "v1", "v4", "v5"}; !slices.Equal(left, want) {
				t.Errorf("left are %v, want %v", left, want)
			}
			u, err := w.Usage(t.Context())
			if err != nil || u.Bytes > 4*layerSize+10_000 || u.Bytes < 4*layerSize || u.Images != 4 || u.Pinned < layerSize {
				t.Errorf("usage is %+v, %v", u, err)
			}
			clean(t, w.Store)
		})
	}
}

func TestSharedLayersStayWithTheLastImage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, store.Options{Age: 24 * time.Hour})
	b, other := w.Space("s", store.SpaceOptions{}).Backend(), w.Space("mirror", store.SpaceOptions{Volatile: true}).Backend()
	shared := layer("shared")
	w.push(b, "app", "old", shared, layer("old"))
	w.pass(20 * time.Hour)
	w.push(b, "app", "new", shared)
	w.push(other, "app", "new", shared)
	w.pass(5 * time.Hour)
	if c := w.collect(); c.Images != 1 || c.Bytes < layerSize || c.Bytes > layerSize+5000 {
		t.Errorf("collected %+v", c)
	}
	if has(t, b, "app", "old") || !has(t, b, "app", "new") || !has(t, other, "app", "new") {
		t.Error("the wrong image went")
	}
	clean(t, w.Store)
}

func TestImageGoesWithItsIndexAndReferrers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, store.Options{Age: time.Hour})
	b := w.Space("s", store.SpaceOptions{}).Backend()
	ctx := t.Context()
	one, two := must(push(ctx, b, "app", "one", nil, nil, layer("one")))(t), must(push(ctx, b, "app", "two", nil, nil, layer("two")))(t)
	must(push(ctx, b, "app", "signature", &one, nil, layer("signature")))(t)
	must(pushIndex(ctx, b, "app", []string{"all"}, one, two))(t)
	w.pass(30 * time.Minute)
	if err := whole(ctx, b, "app", registry.Ref{Digest: two.Digest}); err != nil { // a platform is used, and so is the index
		t.Fatal(err)
	}
	w.pass(45 * time.Minute)
	if c := w.collect(); c.Images != 0 || !has(t, b, "app", "all") {
		t.Fatalf("an image went that was used: %+v", c)
	}
	w.pass(2 * time.Hour)
	if c := w.collect(); c.Images != 1 || c.Bytes < 3*layerSize {
		t.Errorf("collected %+v", c)
	}
	if u, err := w.Usage(ctx); err != nil || u.Bytes != 0 || u.Blobs != 0 || u.Repositories != 0 {
		t.Errorf("left is %+v, %v", u, err)
	}
	if _, err := b.Tags.List(ctx, "app", "", 1); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("the repository is still there: %v", err)
	}
	clean(t, w.Store)
}

func TestWhatIsReadOrUploadedStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, store.Options{High: 1, Age: time.Hour, Pending: time.Hour})
	b := w.Space("s", store.SpaceOptions{}).Backend()
	ctx := t.Context()
	content := layer("read")
	must(push(ctx, b, "app", "read", nil, []string{"read"}, content, layer("more")))(t)
	rc := must(b.Blobs.Open(ctx, "app", digest.FromBytes(content), 0))(t)
	defer rc.Close()
	up := must(b.Uploads.Begin(ctx, "app", "upload"))(t)
	defer up.Close()
	if _, err := io.WriteString(up, "half"); err != nil {
		t.Fatal(err)
	}
	w.pass(1000 * time.Hour)
	w.collect()
	if !has(t, b, "app", "read") {
		t.Error("an image went while it was read")
	}
	if _, err := io.WriteString(up, " and half"); err != nil {
		t.Error(err)
	}
	if err := up.Commit(ctx, digest.FromString("half and half")); err != nil {
		t.Error(err)
	}
	if err := rc.Close(); err != nil {
		t.Error(err)
	}
	w.pass(2 * store.Grace)
	w.collect()
	if has(t, b, "app", "read") {
		t.Error("the image is still there, and the store is full")
	}
	clean(t, w.Store)
}

// A client is told that a blob is here while the image goes that has it, and pushes another
// one with the blob.
func TestWhatIsAskedForWhileItsImageGoesStays(t *testing.T) {
	t.Parallel()
	for name, o := range spaces() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			day, steady := newClock(), newClock()
			content := layer("shared")
			var in registry.Backend
			var calls, armed, told atomic.Int32
			s := open(t, t.TempDir(), store.Options{Age: time.Hour, Now: func() time.Time {
				calls.Add(1)
				if armed.Load() == 1 {
					if tags, err := in.Tags.List(ctx, "app", "", 1); err == nil && len(tags) == 0 && armed.CompareAndSwap(1, 0) { // it has just gone
						if _, err := in.Blobs.Stat(ctx, "app", digest.FromBytes(content)); err == nil { // which asks for the time too
							told.Store(1)
						}
					}
				}
				return day.now()
			}})
			s.SetSteady(steady.now)
			for end := time.Now().Add(2 * time.Minute); calls.Load() == 0; <-time.After(time.Millisecond) { // the worker asks once, at its start
				if time.Now().After(end) {
					t.Fatal("the worker does not start")
				}
			}
			in = s.Space("s", o).Backend()
			must(push(ctx, in, "app", "old", nil, []string{"old"}, content))(t)
			day.add(2 * time.Hour)
			steady.add(2 * time.Hour)
			armed.Store(1)
			if c := must(s.Collect(ctx))(t); c.Images != 1 {
				t.Fatalf("%+v went", c)
			}
			if told.Load() == 0 {
				t.Fatal("the blob was not there any more when its image had gone")
			}
			if err := reads(ctx, in, "app", digest.FromBytes(content)); err != nil {
				t.Errorf("it is gone: %v", err)
			}
			clean(t, s)
		})
	}
}

func TestClockThatJumpsLosesNothingInUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, store.Options{Age: time.Hour, Pending: time.Hour})
	b := w.Space("s", store.SpaceOptions{}).Backend()
	ctx := t.Context()
	for _, name := range []string{"pinned", "used"} {
		must(push(ctx, b, "app", name, nil, []string{name}, layer(name)))(t)
	}
	must(w.Pin(ctx, "app:pinned"))(t)
	blob := must(upload(ctx, b, "app", layer("no manifest yet")))(t)
	up := must(b.Uploads.Begin(ctx, "app", "upload"))(t)
	defer up.Close()
	for _, jump := range []time.Duration{10 * 365 * 24 * time.Hour, -30 * 365 * 24 * time.Hour} {
		w.day.add(jump) // and no time has passed
		if c := w.collect(); c.Images != 0 || c.Uploads != 0 {
			t.Errorf("a jump of %s cost %+v", jump, c)
		}
		if !has(t, b, "app", "pinned") || !has(t, b, "app", "used") || reads(ctx, b, "app", blob) != nil {
			t.Errorf("a jump of %s cost an image or a blob", jump)
		}
	}
	w.pass(3 * store.Grace)
	w.day.add(50 * 365 * 24 * time.Hour)
	w.collect()
	if !has(t, b, "app", "pinned") {
		t.Error("a pinned image went")
	}
	if has(t, b, "app", "used") {
		t.Error("an image that nobody uses is still there")
	}
	clean(t, w.Store)
}

func TestBlobsWithoutManifestAreGivenUp(t *testing.T) {
	t.Parallel()
	for name, o := range spaces() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, store.Options{Pending: time.Hour})
			b := w.Space("s", o).Backend()
			d := must(upload(t.Context(), b, "app", layer("alone")))(t)
			w.pass(30 * time.Minute)
			w.collect()
			if err := reads(t.Context(), b, "app", d); err != nil {
				t.Fatal(err)
			}
			w.pass(31 * time.Minute)
			w.collect()
			if _, err := b.Blobs.Stat(t.Context(), "app", d); !errors.Is(err, pipeline.ErrNotFound) {
				t.Errorf("the blob is still there: %v", err)
			}
			if got := w.Bytes(); got != 0 {
				t.Errorf("%d bytes are left", got)
			}
		})
	}
}

func TestDeletedImageGivesItsBytesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, store.Options{})
	b := w.Space("s", store.SpaceOptions{}).Backend()
	desc := must(push(t.Context(), b, "app", "1", nil, []string{"1"}, layer("1")))(t)
	if err := b.Manifests.Delete(t.Context(), "app", desc.Digest); err != nil {
		t.Fatal(err)
	}
	w.collect()
	if _, err := b.Blobs.Stat(t.Context(), "app", digest.FromBytes(layer("1"))); err != nil {
		t.Errorf("a client that pushes the image again finds its layer gone: %v", err)
	}
	w.pass(time.Hour)
	w.collect()
	if got := w.Bytes(); got != 0 {
		t.Errorf("%d bytes are left", got)
	}
	clean(t, w.Store)
}

func TestPruneAndPins(t *testing.T) {
	t.Parallel()
	w := newWorld(t, store.Options{})
	b := w.Space("mirror/docker.io", store.SpaceOptions{Volatile: true}).Backend()
	ctx := t.Context()
	w.push(b, "library/alpine", "3", layer("alpine"))
	w.push(b, "library/busybox", "3", layer("busybox"))
	if _, err := w.Pin(ctx, "3"); err == nil {
		t.Error("a name that is no name of an image was taken")
	}
	if _, err := w.Pin(ctx, "nothing:3"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("pin of nothing: %v", err)
	}
	name, err := w.Pin(ctx, "alpine:3")
	if err != nil || name != "mirror/docker.io/library/alpine:3" {
		t.Errorf("pinned %q, %v", name, err)
	}
	if c, err := w.Prune(ctx, 0); err != nil || c.Images != 1 {
		t.Errorf("pruned %+v, %v", c, err)
	}
	items, err := w.List(ctx)
	if err != nil || len(items) != 1 || !items[0].Pinned || items[0].Names()[0] != name || items[0].Size < layerSize {
		t.Errorf("left are %+v, %v", items, err)
	}
	if _, err := w.Unpin(ctx, "alpine:3"); err != nil {
		t.Error(err)
	}
	if _, err := w.Unpin(ctx, "alpine:3"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("unpin twice: %v", err)
	}
	if c, err := w.Prune(ctx, 0); err != nil || c.Images != 1 || w.Bytes() != 0 {
		t.Errorf("pruned %+v, %v", c, err)
	}
}

func TestAbandonedUploadsAreGivenUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	begin := func(s *store.Store, id string) {
		up := must(s.Space("s", store.SpaceOptions{}).Backend().Uploads.Begin(context.Background(), "app", id))(t)
		must(io.WriteString(up, "half"))(t)
		if err := up.Close(); err != nil {
			t.Error(err)
		}
	}
	s, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	begin(s, "one")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	later := func() time.Time { return time.Now().Add(25 * time.Hour) }
	if s, err = store.Open(t.Context(), dir, store.Options{Now: later}); err != nil {
		t.Fatal(err)
	}
	b := s.Space("s", store.SpaceOptions{}).Backend()
	begin(s, "two")
	up := must(b.Uploads.Resume(t.Context(), "app", "one"))(t) // a restart has not cost it
	if up.Size() != 4 {
		t.Errorf("the upload goes on at %d", up.Size())
	}
	if c := must(s.Collect(t.Context()))(t); c.Uploads != 0 {
		t.Errorf("an upload in use was given up: %+v", c)
	}
	if err := errors.Join(up.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	s = open(t, dir, store.Options{Now: later})
	if c := must(s.Collect(t.Context()))(t); c.Uploads != 2 {
		t.Errorf("after a restart %+v went", c)
	}
	clean(t, s)
}

// In a cache the manifest comes first, and its blobs when somebody asks for them.
func TestBlobsThatCameAfterTheirManifestGoWithIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, store.Options{High: 3 * layerSize, Low: 2.5 * layerSize})
	b := w.Space("mirror/docker.io", store.SpaceOptions{Volatile: true, Sparse: true}).Backend()
	ctx := t.Context()
	for i := range 4 {
		name := fmt.Sprint("v", i)
		config, content := []byte(`{"name":"`+name+`"}`), layer(name)
		must(putJSON(ctx, b, "app", ocispec.MediaTypeImageManifest, ocispec.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
			Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config))},
			Layers: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(content), Size: layerSize}},
		}, []string{name}))(t)
		clean(t, w.Store) // with nothing that it names
		must(upload(ctx, b, "app", config))(t)
		must(upload(ctx, b, "app", content))(t)
		w.pass(time.Hour)
	}
	w.collect()
	for i, want := range []bool{false, false, true, true} {
		if name := fmt.Sprint("v", i); has(t, b, "app", name) != want {
			t.Errorf("%s is there: %v", name, !want)
		}
	}
	if got := w.Bytes(); got > 2.5*layerSize {
		t.Errorf("%d bytes are left", got)
	}
	w.pass(100 * time.Hour) // and what stays, stays
	w.collect()
	if !has(t, b, "app", "v2") || !has(t, b, "app", "v3") {
		t.Error("blobs went while their manifest stayed")
	}
	clean(t, w.Store)
}
