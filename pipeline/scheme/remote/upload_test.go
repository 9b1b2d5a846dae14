package remote_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// failUpload fails the first n requests of a method that have a body to read.
func failUpload(method string, times int32, fail func(http.ResponseWriter, *http.Request)) func(http.ResponseWriter, *http.Request) bool {
	var n atomic.Int32
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != method || !strings.Contains(r.URL.Path, "/uploads/") || n.Add(1) > times {
			return false
		}
		fail(w, r)
		return true
	}
}

func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// standStill takes no byte for longer than the tests' Stall. A server does not
// learn that its client is gone while it does not read.
func standStill(http.ResponseWriter, *http.Request) { <-time.After(3 * time.Second) }

func status(code int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil {
			_, _ = io.CopyN(io.Discard, r.Body, 100_000)
		}
		w.WriteHeader(code)
	}
}

func TestUploadThatFailsForNowIsTemporary(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		hook      func(http.ResponseWriter, *http.Request) bool
		temporary bool
	}{
		"cut": {failUpload("PATCH", 1, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.CopyN(io.Discard, r.Body, 1000)
			hangUp(nil, nil)
		}), true},
		"token ran out":  {failUpload("PATCH", 1, status(401)), true},
		"429":            {failUpload("PATCH", 1, status(429)), true},
		"503":            {failUpload("PATCH", 1, status(503)), true},
		"upload is gone": {failUpload("PATCH", 1, status(404)), true},
		"stalled":        {failUpload("PATCH", 1, standStill), true},
		"too large":      {failUpload("PATCH", 1, status(413)), false},
		"forbidden":      {failUpload("PATCH", 1, status(403)), false},
		"bytes were lost": {failUpload("PATCH", 1, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Range", "0-5")
			w.WriteHeader(202)
		}), true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			far := serve(t, emptyRegistry(), test.hook)
			cfg := quick()
			if name == "stalled" {
				cfg.Stall = time.Second
			}
			dst := sink(t, cfg, "registry://"+far.host()+"/team/app:1")
			defer dst.Close()
			blob := bytes.Repeat([]byte(noise(1<<20)), 32) // more than sockets take in
			err := upload(t, dst, blob)
			var passing interface{ Temporary() bool }
			if err == nil || errors.As(err, &passing) && passing.Temporary() != test.temporary {
				t.Fatalf("error is %v, want one that is temporary: %v", err, test.temporary)
			}
			if !test.temporary {
				return
			}
			if passing == nil {
				t.Fatalf("error %v is not temporary", err)
			}
			again := sink(t, quick(), "registry://"+far.host()+"/team/app:1")
			defer again.Close()
			if err := upload(t, again, blob[:1<<20]); err != nil {
				t.Errorf("the second attempt: %v", err)
			}
		})
	}
}

// upload writes one layer.
func upload(t *testing.T, dst pipeline.Sink, blob []byte) error {
	t.Helper()
	desc := describe(blob)
	w, err := dst.Layer(t.Context(), 0, pipeline.Layer{Blob: desc})
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := io.Copy(w, bytes.NewReader(blob)); err != nil {
		return err
	}
	return w.Commit(t.Context(), desc, "")
}

func TestFinishingAnUploadIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, hook := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"503":    failUpload("PUT", 2, status(503)),
		"hangup": failUpload("PUT", 1, hangUp),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			far := serve(t, emptyRegistry(), hook)
			dst := sink(t, quick(), "registry://"+far.host()+"/team/app:1")
			defer dst.Close()
			if err := upload(t, dst, []byte(noise(1<<20))); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAnswerThatWasLostIsNoFailure(t *testing.T) {
	t.Parallel()
	h := emptyRegistry()
	var n atomic.Int32
	far := serve(t, h, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/uploads/") || n.Add(1) > 1 {
			return false
		}
		h.ServeHTTP(discarded{http.Header{}}, r)
		panic(http.ErrAbortHandler)
	})
	dst := sink(t, quick(), "registry://"+far.host()+"/team/app:1")
	defer dst.Close()
	if err := upload(t, dst, []byte(noise(1<<20))); err != nil {
		t.Error(err)
	}
}

// discarded is an answer that nobody gets.
type discarded struct{ h http.Header }

func (d discarded) Header() http.Header         { return d.h }
func (d discarded) Write(p []byte) (int, error) { return len(p), nil }
func (d discarded) WriteHeader(int)             {}
func TestSmallLayerGoesInOneRequestAndIsTriedAgain(t *testing.T) {
	t.Parallel()
	far := serve(t, emptyRegistry(), failUpload("PUT", 1, status(500)))
	dst := sink(t, quick(), "registry://"+far.host()+"/team/app:1")
	defer dst.Close()
	if err := upload(t, dst, []byte("small")); err != nil {
		t.Fatal(err)
	}
	if n := len(far.requests("PATCH")); n != 0 {
		t.Errorf("%d streams for a small layer", n)
	}
}

func TestDiscardedUploadIsGivenUp(t *testing.T) {
	t.Parallel()
	far := serve(t, emptyRegistry())
	dst := sink(t, quick(), "registry://"+far.host()+"/team/app:1")
	defer dst.Close()
	w, err := dst.Layer(t.Context(), 0, pipeline.Layer{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(noise(1 << 20))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if n := len(far.requests("DELETE /v2/team/app/blobs/uploads/")); n != 1 {
		t.Errorf("the upload was given up %d times", n)
	}
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("a closed writer takes bytes")
	}
}

func TestCommitOfOtherBytesIsRefused(t *testing.T) {
	t.Parallel()
	blob := []byte(noise(1 << 20))
	tests := map[string]ocispec.Descriptor{
		"size":   {Digest: digest.FromBytes(blob), Size: 5},
		"digest": {Digest: digest.FromString("other"), Size: int64(len(blob))},
	}
	for name, desc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			far := serve(t, emptyRegistry())
			dst := sink(t, quick(), "registry://"+far.host()+"/team/app:1")
			defer dst.Close()
			w, err := dst.Layer(t.Context(), 0, pipeline.Layer{})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			if _, err := w.Write(blob); err != nil {
				t.Fatal(err)
			}
			if err := w.Commit(t.Context(), desc, ""); err == nil {
				t.Error("it was accepted")
			}
		})
	}
}

func TestRegistryThatStoredOtherBytesIsCaught(t *testing.T) {
	t.Parallel()
	h := emptyRegistry()
	far := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut {
			h.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Docker-Content-Digest", digest.FromString("other").String())
		w.WriteHeader(http.StatusCreated)
	}))
	_, err := push(t, quick(), image(t, pipeline.Gzip), "registry://"+far.host()+"/team/app:1", pipeline.Options{})
	if !errors.Is(err, pipeline.ErrDigest) {
		t.Errorf("error is %v, want ErrDigest", err)
	}
}

func TestFailedLayerLeavesNoManifest(t *testing.T) {
	t.Parallel()
	far := serve(t, emptyRegistry(), failUpload("PATCH", 99, status(403)))
	_, err := push(t, quick(), image(t, pipeline.Gzip), "registry://"+far.host()+"/team/app:1", pipeline.Options{})
	wantError(t, err, "403", "anonymous")
	if n := len(far.requests("PUT /v2/team/app/manifests")); n != 0 {
		t.Errorf("%d manifests were put", n)
	}
}

// repeat is a reader without end.
type repeat []byte

func (r repeat) Read(p []byte) (int, error) { return copy(p, r), nil }

// It does not run beside other tests, whose allocations would count.
func TestLargeLayerIsNotHeldInMemory(t *testing.T) {
	const size, most = 256 << 20, 16 << 20
	far := serve(t, emptyRegistry(), func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPatch {
			return false
		}
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil || n != size {
			t.Errorf("%d bytes arrived: %v", n, err)
		}
		w.WriteHeader(http.StatusAccepted)
		return true
	})
	dst := sink(t, quick(), "registry://"+far.host()+"/team/app:1")
	defer dst.Close()
	w, err := dst.Layer(t.Context(), 0, pipeline.Layer{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := io.CopyBuffer(w, io.LimitReader(repeat(noise(64<<10)), size), make([]byte, 64<<10)); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > most {
		t.Errorf("%d bytes were allocated for a layer of %d", grown, size)
	}
	// The registry took the bytes, and says that they are others.
	if err := w.Commit(t.Context(), ocispec.Descriptor{Digest: digest.FromString("x"), Size: size}, ""); err == nil {
		t.Error("other bytes were accepted")
	}
}
