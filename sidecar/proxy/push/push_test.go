package push_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

const normalize = "normalize-timestamps"

// alone is what a run without a proxy makes of an image.
func alone(t *testing.T, s *pipelinetest.Store, img ocispec.Descriptor, specs ...string) digest.Digest {
	t.Helper()
	var filters []pipeline.Filter
	for _, spec := range specs {
		f, err := filter.Kinds(filter.Defaults{}).New(spec)
		if err != nil {
			t.Fatal(err)
		}
		filters = append(filters, f)
	}
	dst := pipelinetest.NewSink()
	report, err := pipeline.Run(t.Context(), s.Source(img), filters, dst, pipeline.Options{Query: pipeline.Query{Platforms: pipeline.Platforms{All: true}}})
	if err != nil {
		t.Fatal(err)
	}
	return report.Roots[0].Manifest.Digest
}

// Y08, Y11: an image arrives under its name, and its digest is what a run comes to.
func TestPushArrives(t *testing.T) {
	t.Parallel()
	for name, filters := range map[string][]string{
		"as it is": nil, "changed": {normalize}, "edited": {normalize + ":recompress=transcode"}, "recompressed": {"recompress:zstd"},
		"needs manifests": {"exclude:pattern=**/small"}, "judged": {"deny:secrets=true", normalize}, "one layer": {"flatten"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, s := start(t, filters, nil), pipelinetest.NewStore()
			img := image(t, s, "a")
			a, _ := w.pushImage("team/app", "1", s, img)
			stored := w.must(a, img.Digest)
			if want := alone(t, s, img, filters...); stored != want {
				t.Errorf("kept as %s, want %s", stored, want)
			}
			if desc, _ := w.kept("team/app", "1"); desc.Digest != stored {
				t.Errorf("the tag leads to %s, want %s", desc.Digest, stored)
			}
			if n := w.staging.Uploading() + w.keeper.reg.Uploading(); n > 0 {
				t.Errorf("%d uploads are left", n)
			}
		})
	}
}

// What was sent early is not sent again, and nothing twice.
func TestLayersGoWhileTheyArrive(t *testing.T) {
	t.Parallel()
	for name, filters := range map[string][]string{"as it is": nil, "changed": {normalize}, "judged": {"deny:pattern=*.pem"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begun := make(chan struct{}, 9)
			w := start(t, filters, func(w *world) {
				w.keeper.layer = func(context.Context) error { begun <- struct{}{}; return nil }
			})
			raw := pipelinetest.Compress(t, pipeline.Gzip, plainLayer(t, "x", 4<<20))
			at := w.begin("team/app")
			body, feed := io.Pipe()
			sent := make(chan answer)
			go func() { sent <- w.ask("PATCH", at, body) }()
			_, _ = feed.Write(raw[:3<<20])
			<-begun // the keeper gets the layer, and the client has not sent all of it
			_, _ = feed.Write(raw[3<<20:])
			_ = feed.Close()
			if a := <-sent; a.status != http.StatusAccepted {
				t.Fatalf("%d %s", a.status, a.body)
			}
			s := pipelinetest.NewStore()
			img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{plainLayer(t, "x", 4<<20)}})
			if a := w.ask("PUT", at+"?digest="+digest.FromBytes(raw).String(), nil); a.status != http.StatusCreated {
				t.Fatalf("%d %s", a.status, a.body)
			}
			a, _ := w.pushImage("team/app", "1", s, img)
			w.must(a, img.Digest)
			want := 1
			if filters == nil {
				want = 2 // the config
			}
			if n := w.keeper.count("layer"); n != want {
				t.Errorf("%d blobs were sent, want %d", n, want)
			}
			if told := w.told(); len(told) != 1 || told[0].Err != nil || told[0].Out < 4<<20 || told[0].In < int64(len(raw)) || told[0].Reused != 0 {
				t.Errorf("%+v", told)
			}
		})
	}
}

// Y13, Y16: a layer that the keeper has the outcome of need not be sent, by anybody, and
// is answered with the size that it has. Y17: the image that stands on it is whole.
func TestKnownLayersAreNotSent(t *testing.T) {
	t.Parallel()
	for name, filters := range map[string][]string{"as it is": nil, "changed": {normalize}, "edited": {normalize + ":recompress=transcode"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, s := start(t, filters, func(w *world) { w.cfg.Cache = newCache() }), pipelinetest.NewStore()
			base, own := plainLayer(t, "base", 1<<20), plainLayer(t, "own", 3000)
			img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{base}})
			child := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{base, own}})
			raw := s.Bytes(read[ocispec.Manifest](t, s.Bytes(img.Digest)).Layers[0].Digest)
			address := "/v2/team/app/blobs/" + digest.FromBytes(raw).String()
			if a := w.ask("HEAD", address, nil); a.status != http.StatusNotFound {
				t.Errorf("before: %d", a.status)
			}
			a, _ := w.pushImage("team/app", "1", s, img)
			w.must(a, img.Digest)
			w.later()
			if a := w.ask("HEAD", address, nil); a.status != http.StatusOK || a.header.Get("Content-Length") != strconv.Itoa(len(raw)) {
				t.Errorf("after: %d, %s bytes", a.status, a.header.Get("Content-Length"))
			}
			a, sent := w.pushImage("team/app", "2", s, child)
			if stored, want := w.must(a, child.Digest), alone(t, s, child, filters...); stored != want {
				t.Errorf("kept as %s, want %s", stored, want)
			}
			if sent != 2 { // its own layer and its config
				t.Errorf("%d blobs had to be sent", sent)
			}
			w.kept("team/app", "2")
			if a := w.ask("HEAD", strings.Replace(address, "team/app", "other", 1), nil); a.status != http.StatusNotFound {
				t.Errorf("another repository answers for it: %d", a.status)
			}
			if told := w.told(); told[1].Reused == 0 || told[1].Out > 1<<19 {
				t.Errorf("%+v", told[1])
			}
		})
	}
}

// Y09, Y10: nothing is acknowledged before it is kept.
func TestFailureDownstreamIsTheClients(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	failing := true
	w := start(t, []string{normalize}, func(w *world) {
		w.keeper.commit = func(context.Context) error {
			<-hold
			if failing {
				return io.ErrClosedPipe
			}
			return nil
		}
	})
	s := pipelinetest.NewStore()
	img := image(t, s, "a")
	w.blobs("team/app", s, read[ocispec.Manifest](t, s.Bytes(img.Digest)))
	answers := make(chan answer)
	go func() { answers <- w.manifest("team/app", "1", s, img) }()
	select {
	case a := <-answers:
		t.Fatalf("answered before it was kept: %d", a.status)
	case hold <- struct{}{}:
	}
	a := <-answers
	if code, message := a.code(); a.status != 500 || code != "UNKNOWN" || !strings.Contains(message, "could not be kept") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := w.ask("HEAD", "/v2/team/app/manifests/"+img.Digest.String(), nil); a.status != http.StatusNotFound {
		t.Errorf("a manifest that is not kept is answered with %d, so a client would not send it again", a.status)
	}
	failing = false
	close(hold)
	w.must(w.manifest("team/app", "1", s, img), img.Digest)
	if told := w.told(); len(told) != 2 || told[0].Err == nil || told[1].Err != nil {
		t.Errorf("%+v", told)
	}
}

// Y18, D83, D88: what was pushed answers by the digest that it was pushed with; the tag
// leads to what is kept.
func TestClientsFindWhatTheyPushed(t *testing.T) {
	t.Parallel()
	w, s := start(t, []string{normalize}, nil), pipelinetest.NewStore()
	img := image(t, s, "a")
	a, _ := w.pushImage("team/app", "1", s, img)
	stored := w.must(a, img.Digest)
	if stored == img.Digest {
		t.Fatal("nothing was changed")
	}
	for _, method := range []string{"HEAD", "GET"} {
		a := w.ask(method, "/v2/team/app/manifests/"+img.Digest.String(), nil)
		if a.status != 200 || a.header.Get("Docker-Content-Digest") != img.Digest.String() || a.header.Get("Content-Type") != img.MediaType {
			t.Errorf("%s by digest: %d %v", method, a.status, a.header)
		}
		if method == "GET" && a.body != string(s.Bytes(img.Digest)) {
			t.Errorf("other bytes: %s", a.body)
		}
		if a := w.ask(method, "/v2/team/app/manifests/1", nil); a.status != 200 || a.header.Get("Docker-Content-Digest") != stored.String() {
			t.Errorf("%s by tag: %d %v", method, a.status, a.header)
		}
	}
	if a := w.ask("GET", "/v2/team/app/tags/list", nil); a.status != 200 || !strings.Contains(a.body, `["1"]`) {
		t.Errorf("tags: %d %s", a.status, a.body)
	}
}

// Y15: pushes at the same time share blobs, and each is whole.
func TestPushesAtOnceShareBlobs(t *testing.T) {
	t.Parallel()
	w := start(t, []string{normalize}, func(w *world) { w.cfg.Concurrency, w.cfg.Parallel = 2, 2 })
	s := pipelinetest.NewStore()
	base := plainLayer(t, "base", 1<<20)
	var all sync.WaitGroup
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{base, plainLayer(t, name, 1000)}})
		want := alone(t, s, img, normalize)
		for _, repository := range []string{"one", "two"} {
			all.Go(func() {
				a, _ := w.pushImage(repository, name, s, img)
				if stored := w.must(a, img.Digest); stored != want {
					t.Errorf("%s/%s is kept as %s, want %s", repository, name, stored, want)
				}
				w.kept(repository, name)
			})
		}
	}
	all.Wait()
}

// Y05: no more images are at work than there are places; the others wait, and are counted.
func TestImagesWaitForTheirTurn(t *testing.T) {
	t.Parallel()
	begun, hold, queue := make(chan struct{}, 9), make(chan struct{}), make(chan int64, 9)
	w := start(t, []string{normalize}, func(w *world) {
		w.cfg.Concurrency = 1
		w.cfg.Queue = func(delta int64) { queue <- delta }
		w.keeper.commit = func(context.Context) error { begun <- struct{}{}; <-hold; return nil }
	})
	s := pipelinetest.NewStore()
	answers := make(chan answer)
	for _, name := range []string{"a", "b"} {
		img := image(t, s, name)
		w.blobs("team/app", s, read[ocispec.Manifest](t, s.Bytes(img.Digest)))
		go func() { answers <- w.manifest("team/app", name, s, img) }()
	}
	<-begun
	if delta := <-queue; delta != 1 {
		t.Errorf("the queue changes by %d, want 1", delta)
	}
	if n := len(begun); n > 0 {
		t.Errorf("%d more images are at work", n)
	}
	close(hold)
	for range 2 {
		if a := <-answers; a.status != http.StatusCreated {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if delta := <-queue; delta != -1 || len(queue) > 0 {
		t.Errorf("the queue changes by %d, want -1 and nothing more", delta)
	}
}

// Identical work is done once.
func TestSameManifestAtOnceGoesOnce(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	w := start(t, []string{normalize}, func(w *world) {
		w.keeper.commit = func(context.Context) error { <-hold; return nil }
	})
	s := pipelinetest.NewStore()
	img := image(t, s, "a")
	w.blobs("team/app", s, read[ocispec.Manifest](t, s.Bytes(img.Digest)))
	const clients = 8
	answers := make(chan answer, clients)
	for range clients {
		go func() { answers <- w.manifest("team/app", "1", s, img) }()
	}
	hold <- struct{}{} // one is at work
	close(hold)
	digests := map[digest.Digest]bool{}
	for range clients {
		digests[w.must(<-answers, img.Digest)] = true
	}
	if len(digests) != 1 || digests[""] {
		t.Errorf("kept as %v", digests)
	}
	if n := len(w.told()); n > clients/2 {
		t.Logf("%d runs for %d clients", n, clients) // those that came later, after the first was done
	}
}

// Y14: bytes of another digest are not taken, and leave nothing behind.
func TestWrongDigestIsRefused(t *testing.T) {
	t.Parallel()
	for name, filters := range map[string][]string{"as it is": nil, "changed": {normalize}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, filters, nil)
			raw := pipelinetest.Compress(t, pipeline.Gzip, plainLayer(t, "x", 2<<20))
			at := w.begin("team/app")
			if a := w.ask("PATCH", at, bytes.NewReader(raw)); a.status != http.StatusAccepted {
				t.Fatalf("%d %s", a.status, a.body)
			}
			wrong := digest.FromString("else")
			a := w.ask("PUT", at+"?digest="+wrong.String(), nil)
			if code, _ := a.code(); a.status != http.StatusBadRequest || code != "DIGEST_INVALID" {
				t.Errorf("%d %s", a.status, a.body)
			}
			if err := w.push.Drain(t.Context()); err != nil {
				t.Error(err)
			}
			for _, d := range []digest.Digest{wrong, digest.FromBytes(raw)} {
				if _, err := w.keeper.Backend().Blobs.Stat(t.Context(), "team/app", d); err == nil {
					t.Errorf("%s is kept", d)
				}
			}
			if n := w.keeper.reg.Uploading(); n > 0 {
				t.Errorf("%d uploads are left", n)
			}
		})
	}
}

// Missing blobs are told, by the specification's code.
func TestManifestWithoutItsBlobs(t *testing.T) {
	t.Parallel()
	w, s := start(t, nil, nil), pipelinetest.NewStore()
	img := image(t, s, "a")
	a := w.manifest("team/app", "1", s, img)
	if code, _ := a.code(); a.status != http.StatusBadRequest && a.status != http.StatusNotFound || code != "MANIFEST_BLOB_UNKNOWN" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// Equal work is done once: layers that wait for their turn, in whatever repository, are
// taken from who was at them first.
func TestEqualLayersAreFilteredOnce(t *testing.T) {
	t.Parallel()
	begun, hold := make(chan struct{}), make(chan struct{})
	var first sync.Once
	w := start(t, []string{normalize}, func(w *world) {
		w.cfg.Cache, w.cfg.Concurrency, w.cfg.Parallel = newCache(), 1, 1
		w.keeper.layer = func(context.Context) error {
			first.Do(func() { close(begun); <-hold })
			return nil
		}
	})
	s := pipelinetest.NewStore()
	img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{plainLayer(t, "x", 1<<20)}})
	m := read[ocispec.Manifest](t, s.Bytes(img.Digest))
	w.blobs("one", s, m) // its layer is held up at the keeper
	<-begun
	var all sync.WaitGroup
	answers := make(chan answer, 9)
	for _, repository := range []string{"one", "two", "three", "four"} {
		w.blobs(repository, s, m)
		all.Go(func() { answers <- w.manifest(repository, "1", s, img) })
	}
	close(hold)
	all.Wait()
	close(answers)
	for a := range answers {
		w.must(a, img.Digest)
	}
	if n := w.keeper.count("layer"); n != 1 {
		t.Errorf("the layer went %d times", n)
	}
}
