package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
)

// A cargo is what a run brings to a sink.
type cargo struct {
	images []image
	index  []byte // the root, when there is one
	names  []string
}

func (c cargo) manifests() (out []pipeline.Manifest) {
	for _, i := range c.images {
		m := pipeline.Manifest{Desc: i.desc, Raw: i.manifest, Config: i.config}
		if c.index == nil {
			m.Root, m.Names = true, c.names
		}
		out = append(out, m)
	}
	if c.index != nil {
		out = append(out, pipeline.Manifest{Desc: describe(ocispec.MediaTypeImageIndex, c.index), Raw: c.index, Root: true, Names: c.names})
	}
	return out
}

// send does what a run does: layers at once, manifests, names.
func (c cargo) send(ctx context.Context, sink pipeline.Sink) error {
	var wait sync.WaitGroup
	errs := make(chan error, 16)
	seq := 0
	seen := map[digest.Digest]bool{}
	for _, i := range c.images {
		for _, l := range i.layers {
			if seen[l.blob.Digest] {
				continue
			}
			seen[l.blob.Digest] = true
			n := seq
			seq++
			wait.Go(func() {
				if err := sendLayer(ctx, sink, n, l); err != nil {
					errs <- err
				}
			})
		}
	}
	wait.Wait()
	close(errs)
	for err := range errs {
		return err
	}
	for _, m := range c.manifests() {
		if err := sink.Commit(ctx, m); err != nil {
			return err
		}
	}
	return sink.Publish(ctx)
}

func sendLayer(ctx context.Context, sink pipeline.Sink, seq int, l layer) (err error) {
	pl := pipeline.Layer{Blob: l.blob, DiffID: l.diffID}
	if _, err := sink.Plan(ctx, pl); err != nil {
		return err
	}
	w, err := sink.Layer(ctx, seq, pl)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if _, err := io.Copy(w, bytes.NewReader(l.stored)); err != nil {
		return err
	}
	return w.Commit(ctx, l.blob, l.diffID)
}

// push sends a cargo to a fake and returns the error and the warnings.
func push(t testing.TB, uri string, c cargo, cfg daemon.Config) ([]string, error) {
	t.Helper()
	var mu sync.Mutex
	var warnings []string
	cfg.Events = func(e pipeline.Event) {
		mu.Lock()
		defer mu.Unlock()
		warnings = append(warnings, e.Message)
	}
	sink, err := schemes(cfg).Sink(uri)
	must(t, err)
	err = c.send(context.Background(), sink)
	must(t, sink.Close())
	return warnings, err
}

func one(t testing.TB, names ...string) cargo {
	t.Helper()
	return cargo{images: []image{newImage(t, "amd64", newLayer(t, "a", true), newLayer(t, "b", true))}, names: names}
}

func several(t testing.TB, arches ...string) cargo {
	t.Helper()
	var c cargo
	for _, a := range arches {
		c.images = append(c.images, newImage(t, a, newLayer(t, a, true)))
	}
	root, members := savedIndex(t, c.images...)
	for _, m := range members {
		if digest.FromBytes(m.data) == root.Digest {
			c.index = m.data
		}
	}
	return c
}

// TestLoadNamesByDestination: an image gets the name of the destination,
// whatever it was called; without one it keeps its own names.
func TestLoadNamesByDestination(t *testing.T) {
	t.Parallel()
	engines := map[string]*fake{
		"graph driver":     {api: "1.41"},
		"containerd store": {api: "1.51", indexes: true},
		"Podman":           {podman: true},
	}
	for name, engine := range engines {
		for _, tc := range []struct {
			image string
			names []string
			want  []string
		}{
			{"reg.example:5000/new:2", []string{"docker.io/library/old:1"}, []string{"reg.example:5000/new:2"}},
			{"new", nil, []string{"docker.io/library/new:latest"}},
			{"", []string{"docker.io/library/old:1", "docker.io/library/old:2"}, []string{"docker.io/library/old:1", "docker.io/library/old:2"}},
			{"", nil, nil},
		} {
			t.Run(name+"/"+tc.image+" from "+strings.Join(tc.names, " "), func(t *testing.T) {
				t.Parallel()
				f := start(t, &fake{api: engine.api, indexes: engine.indexes, podman: engine.podman})
				c := one(t, tc.names...)
				_, err := push(t, f.uri(tc.image), c, daemon.Config{})
				must(t, err)
				id := c.images[0].configDigest()
				if engine.indexes {
					id = c.images[0].desc.Digest
				}
				want := map[string]string{}
				for _, n := range tc.want {
					want[n] = id.String()
				}
				if diff := cmp.Diff(want, f.tags()); diff != "" {
					t.Errorf("names in the daemon (-want +got):\n%s", diff)
				}
				if len(f.images) != 1 || f.images[0].ID != id.String() {
					t.Errorf("the daemon holds %d images, want the one %s", len(f.images), id)
				}
			})
		}
	}
}

// TestErrorInTheAnswerFailsTheRun: an error comes inside status 200.
func TestErrorInTheAnswerFailsTheRun(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"detail":      `{"stream":"Loading layer"}{"errorDetail":{"message":"no space left"},"error":"no space left"}`,
		"plain error": `{"error":"no space left"}`,
		"no JSON":     `no space left`,
		"unpacking":   `{"stream":"Loaded image ID: sha256:1\nError unpacking image sha256:1: no space left\n"}`,
		"cut JSON":    `{"errorDetail":{"message":"no spa`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, &fake{answer: func(w http.ResponseWriter) { _, _ = io.WriteString(w, answer) }})
			_, err := push(t, f.uri("app"), one(t), daemon.Config{})
			if err == nil || strings.HasPrefix(answer, "{") && name != "cut JSON" && !strings.Contains(err.Error(), "no space left") {
				t.Errorf("error is %v; want the daemon's", err)
			}
			if tags := f.tags(); len(tags) > 0 {
				t.Errorf("names were given: %v", tags)
			}
		})
	}
}

// TestDaemonIsCheckedNotBelieved: a daemon that reports success but holds
// nothing, something else, or less, fails the run; what arrived is removed
// again, and nothing gets the name.
func TestDaemonIsCheckedNotBelieved(t *testing.T) {
	t.Parallel()
	silent := func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"stream":"fine"}`) }
	for name, f := range map[string]*fake{
		"nothing arrived": {early: func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, `{"stream":"Loaded image: app:latest"}`)
		}},
		"other layers":   {spoil: func(h *held) { h.RootFS.Layers = h.RootFS.Layers[:1] }, answer: silent},
		"lacks content":  {api: "1.51", indexes: true, spoil: func(h *held) { h.Manifests[0].Available = false }},
		"lacks an image": {api: "1.51", indexes: true, spoil: func(h *held) { h.Manifests = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start(t, f)
			_, err := push(t, f.uri("app"), one(t), daemon.Config{})
			if !errors.Is(err, pipeline.ErrNotFound) && !errors.Is(err, pipeline.ErrDigest) {
				t.Errorf("error is %v; want not found or digest mismatch", err)
			}
			if len(f.images) > 0 {
				t.Errorf("the daemon still holds %s %v", f.images[0].ID, f.images[0].RepoTags)
			}
		})
	}
}

// TestTwinOfAnotherLoadIsNoError: the containerd store fails one of two loads that
// bring an image without a name at the same moment, though both have brought it. It
// is the image that counts, not the words.
func TestTwinOfAnotherLoadIsNoError(t *testing.T) {
	t.Parallel()
	const twin = `{"errorDetail":{"message":"AlreadyExists: image \"moby-dangling@sha256:1\": already exists"}}`
	answer := func(w http.ResponseWriter) { _, _ = io.WriteString(w, twin) }
	t.Run("whole", func(t *testing.T) {
		t.Parallel()
		f := start(t, &fake{api: "1.51", indexes: true, answer: answer})
		c := one(t)
		_, err := push(t, f.uri("app"), c, daemon.Config{})
		must(t, err)
		if got := f.tags()["docker.io/library/app:latest"]; got != c.images[0].desc.Digest.String() {
			t.Errorf("the name is that of %q", got)
		}
	})
	t.Run("less", func(t *testing.T) {
		t.Parallel()
		f := start(t, &fake{api: "1.51", indexes: true, answer: answer, spoil: func(h *held) { h.Manifests[0].Available = false }})
		_, err := push(t, f.uri("app"), one(t), daemon.Config{})
		if err == nil || !strings.Contains(err.Error(), "AlreadyExists") || !strings.Contains(err.Error(), "run it once more") {
			t.Errorf("error is %v", err)
		}
		if tags := f.tags(); len(tags) > 0 {
			t.Errorf("names were given: %v", tags)
		}
	})
}

// TestFailedLoadKeepsWhatWasThere: the image that has the name keeps it when
// the new one turns out to be wrong, and an image that was there before is not
// removed.
func TestFailedLoadKeepsWhatWasThere(t *testing.T) {
	t.Parallel()
	old := newImage(t, "amd64", newLayer(t, "old", true))
	f := &fake{api: "1.51", indexes: true, spoil: func(h *held) { h.Manifests[0].Available = false }}
	start(t, f).holds(t, old, "app:latest", nil)
	c := one(t)
	f.holds(t, c.images[0], "", nil) // there without a name
	_, err := push(t, f.uri("app"), c, daemon.Config{})
	if err == nil {
		t.Fatal("the run was a success")
	}
	if got := f.tags()["docker.io/library/app:latest"]; got != old.desc.Digest.String() {
		t.Errorf("the name is that of %q, want the old image", got)
	}
	if len(f.removed) > 0 {
		t.Errorf("removed %v, which were there before", f.removed)
	}
}

// TestAbortedRunCutsTheBody: a run that ends early leaves nothing: the daemon
// sees a request that was cut, not a whole one.
func TestAbortedRunCutsTheBody(t *testing.T) {
	t.Parallel()
	f := start(t, new(fake))
	dir := t.TempDir()
	sink, err := schemes(daemon.Config{TempDir: dir}).Sink(f.uri("app"))
	must(t, err)
	ctx := context.Background()
	c := one(t)
	must(t, sendLayer(ctx, sink, 0, c.images[0].layers[0]))
	w, err := sink.Layer(ctx, 2, pipeline.Layer{Blob: c.images[0].layers[1].blob})
	must(t, err)
	_, err = w.Write(c.images[0].layers[1].stored[:10])
	must(t, err)
	must(t, w.Close())
	must(t, sink.Close())
	if len(f.images) > 0 {
		t.Errorf("the daemon holds %s", f.images[0].ID)
	}
	left, err := os.ReadDir(dir)
	must(t, err)
	if len(left) > 0 {
		t.Errorf("%d temporary files are left, the first is %s", len(left), left[0].Name())
	}
}

// TestSinkLeavesNoTempFiles: also after success.
func TestSinkLeavesNoTempFiles(t *testing.T) {
	t.Parallel()
	f := start(t, new(fake))
	dir := t.TempDir()
	_, err := push(t, f.uri("app"), one(t), daemon.Config{TempDir: dir})
	must(t, err)
	left, err := os.ReadDir(dir)
	must(t, err)
	if len(left) > 0 {
		t.Errorf("%d temporary files are left, the first is %s", len(left), left[0].Name())
	}
}

// TestUnusedSinkCloses: a sink that was never written to asks no daemon.
func TestUnusedSinkCloses(t *testing.T) {
	t.Parallel()
	sink, err := schemes(daemon.Config{}).Sink("docker://app?socket=/nowhere.sock")
	must(t, err)
	must(t, sink.Close())
	if _, err := sink.Plan(context.Background(), pipeline.Layer{}); err == nil {
		t.Error("a closed sink began to work")
	}
}

// TestEarlyAnswerEndsTheWriters: a daemon that refuses before it has read the
// archive does not leave writers waiting.
func TestEarlyAnswerEndsTheWriters(t *testing.T) {
	t.Parallel()
	f := start(t, &fake{early: func(w http.ResponseWriter, _ *http.Request) {
		complain(w, http.StatusInsufficientStorage, "the disk is full")
	}})
	noise := make([]byte, 8<<20)
	l := layer{stored: noise, blob: describe(ocispec.MediaTypeImageLayer, noise)}
	l.plain, l.diffID = noise, l.blob.Digest
	_, err := push(t, f.uri("app"), cargo{images: []image{newImage(t, "amd64", l)}}, daemon.Config{})
	if err == nil {
		t.Error("the run was a success")
	}
}

// TestCancelledPublishReturns: the end of the context ends a load that the
// daemon does not answer.
func TestCancelledPublishReturns(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	f := start(t, &fake{early: func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done()
	}})
	sink, err := schemes(daemon.Config{}).Sink(f.uri("app"))
	must(t, err)
	if err := one(t).send(ctx, sink); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v; want context canceled", err)
	}
	must(t, sink.Close())
	if tags := f.tags(); len(tags) > 0 {
		t.Errorf("names were given: %v", tags)
	}
}

// TestIndexGoesWhereItCanBeHeld: the containerd store gets all images of an
// index under the index's digest; others get the one that they can run, and the
// user is told.
func TestIndexGoesWhereItCanBeHeld(t *testing.T) {
	t.Parallel()
	c := several(t, "arm64", "amd64")
	index := digest.FromBytes(c.index)
	for name, tc := range map[string]struct {
		engine *fake
		id     digest.Digest
		warns  bool
	}{
		"containerd store": {&fake{api: "1.51", indexes: true}, index, false},
		"graph driver":     {&fake{api: "1.51"}, c.images[1].configDigest(), true},
		"Podman":           {&fake{podman: true}, c.images[1].configDigest(), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, tc.engine)
			warnings, err := push(t, f.uri("app"), c, daemon.Config{})
			must(t, err)
			if diff := cmp.Diff(map[string]string{"docker.io/library/app:latest": tc.id.String()}, f.tags()); diff != "" {
				t.Errorf("names in the daemon (-want +got):\n%s", diff)
			}
			if all := strings.Join(warnings, "\n"); strings.Contains(all, "linux/amd64") != tc.warns {
				t.Errorf("warnings are %q; a choice: %t", all, tc.warns)
			}
		})
	}
}

// TestIndexWithoutTheDaemonsPlatform: with nothing that the daemon runs the
// user has to choose; a single image is taken as it is.
func TestIndexWithoutTheDaemonsPlatform(t *testing.T) {
	t.Parallel()
	f := start(t, new(fake))
	_, err := push(t, f.uri("app"), several(t, "arm64", "s390x"), daemon.Config{})
	var usage *pipeline.UsageError
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), "--platform") {
		t.Errorf("error is %v; want a usage error with --platform", err)
	}
	single := several(t, "arm64")
	_, err = push(t, f.uri("app"), single, daemon.Config{})
	must(t, err)
	if f.tags()["docker.io/library/app:latest"] != single.images[0].configDigest().String() {
		t.Errorf("names in the daemon: %v", f.tags())
	}
}

// TestOneNameTakesOneImage: two images cannot share the destination's name; both
// keep their own where the destination has none.
func TestOneNameTakesOneImage(t *testing.T) {
	t.Parallel()
	f := start(t, &fake{api: "1.51", indexes: true})
	c := cargo{images: []image{newImage(t, "amd64", newLayer(t, "a", true)), newImage(t, "amd64", newLayer(t, "b", true))}}
	_, err := push(t, f.uri("app"), c, daemon.Config{})
	var usage *pipeline.UsageError
	if !errors.As(err, &usage) {
		t.Errorf("error is %v; want a usage error", err)
	}
	_, err = push(t, f.uri(""), c, daemon.Config{})
	must(t, err)
	if len(f.images) != 2 {
		t.Errorf("the daemon holds %d images, want 2", len(f.images))
	}
}

// TestZstdIsUnpackedForOldDockers: Docker before 23 cannot read zstd, Podman 4
// can, though it speaks the same version of the API.
func TestZstdIsUnpackedForOldDockers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		engine *fake
		media  string
		want   pipeline.Compression
	}{
		"Docker 20, zstd":  {&fake{api: "1.41"}, ocispec.MediaTypeImageLayerZstd, pipeline.Plain},
		"Docker 20, any":   {&fake{api: "1.41"}, "", pipeline.Plain},
		"Docker 20, gzip":  {&fake{api: "1.41"}, ocispec.MediaTypeImageLayerGzip, ""},
		"Docker 23, zstd":  {&fake{api: "1.42"}, ocispec.MediaTypeImageLayerZstd, ""},
		"Podman 4, zstd":   {&fake{api: "1.41", podman: true}, ocispec.MediaTypeImageLayerZstd, ""},
		"Docker 29, plain": {&fake{api: "1.51", indexes: true}, ocispec.MediaTypeImageLayer, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, tc.engine)
			sink, err := schemes(daemon.Config{}).Sink(f.uri("app"))
			must(t, err)
			plan, err := sink.Plan(context.Background(), pipeline.Layer{Blob: ocispec.Descriptor{MediaType: tc.media}})
			must(t, err)
			must(t, sink.Close())
			if plan.Held || plan.Encoding.Compression != tc.want {
				t.Errorf("plan is %+v; want %q, not held", plan, tc.want)
			}
		})
	}
}
