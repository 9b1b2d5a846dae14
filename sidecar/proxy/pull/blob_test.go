package pull_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
)

// A slow upstream sends one blob in parts, when it is told to.
type slow struct {
	content []byte
	d       digest.Digest
	next    chan int // how many bytes to send; closed: the rest
	started chan struct{}
	once    sync.Once
}

const (
	// part is how much comes before a test looks, and buffered what a server may keep of
	// it until more comes.
	part, buffered = 64 << 10, 8 << 10
)

func newSlow(size int) *slow {
	s := &slow{content: make([]byte, size), next: make(chan int), started: make(chan struct{})}
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(s.content)
	s.d = digest.FromBytes(s.content)
	return s
}

func (s *slow) answer(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
		return false
	}
	s.once.Do(func() { close(s.started) })
	w.Header().Set("Content-Length", strconv.Itoa(len(s.content)))
	at := 0
	for at < len(s.content) {
		_ = http.NewResponseController(w).Flush()
		n := len(s.content) - at
		select {
		case now, more := <-s.next:
			if more {
				n = min(n, now)
			}
		case <-r.Context().Done():
			return true
		}
		if _, err := w.Write(s.content[at : at+n]); err != nil {
			return true
		}
		at += n
	}
	return true
}

// open begins to read a blob through the proxy.
func (w *world) open(ctx context.Context, d digest.Digest, header ...string) *http.Response {
	w.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.srv.URL+"/v2/"+blobPath(d), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := w.srv.Client().Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp
}

func TestBytesReachClientsWhileOthersArrive(t *testing.T) {
	t.Parallel()
	up, s := newFar(t), newSlow(1<<20)
	up.fail(s.answer)
	w := newWorld(t, up, nil)
	go func() { s.next <- part }()
	one := w.open(t.Context(), s.d)
	defer one.Body.Close()
	head := make([]byte, part-buffered)
	if _, err := io.ReadFull(one.Body, head); err != nil || string(head) != string(s.content[:len(head)]) {
		t.Fatalf("the first bytes: %v", err)
	}
	two := w.open(t.Context(), s.d) // joins, and sees what has come
	defer two.Body.Close()
	if _, err := io.ReadFull(two.Body, head); err != nil || string(head) != string(s.content[:len(head)]) {
		t.Fatalf("the first bytes again: %v", err)
	}
	ranged := w.open(t.Context(), s.d, "Range", "bytes=500-99999") // waits for its bytes
	defer ranged.Body.Close()
	if ranged.StatusCode != http.StatusPartialContent || ranged.Header.Get("Content-Range") != fmt.Sprintf("bytes 500-99999/%d", len(s.content)) {
		t.Errorf("range: status %d, %s", ranged.StatusCode, ranged.Header.Get("Content-Range"))
	}
	s.next <- part
	if got, err := io.ReadAll(ranged.Body); err != nil || string(got) != string(s.content[500:100000]) {
		t.Errorf("range: %d bytes, %v", len(got), err)
	}
	close(s.next)
	for _, resp := range []*http.Response{one, two} {
		rest, err := io.ReadAll(resp.Body)
		if err != nil || string(rest) != string(s.content[len(head):]) {
			t.Errorf("%d more bytes, %v", len(rest), err)
		}
	}
	same(t, up.requests(""), "GET "+blobPath(s.d))
}

func TestClientThatGoesStopsNobody(t *testing.T) {
	t.Parallel()
	up, s := newFar(t), newSlow(1<<20)
	up.fail(s.answer)
	w := newWorld(t, up, nil)
	ctx, leave := context.WithCancel(t.Context())
	go func() { s.next <- part }()
	gone := w.open(ctx, s.d)
	stays := w.open(t.Context(), s.d)
	defer stays.Body.Close()
	leave()
	_ = gone.Body.Close()
	close(s.next)
	if got, err := io.ReadAll(stays.Body); err != nil || digest.FromBytes(got) != s.d {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	same(t, up.requests(""), "GET "+blobPath(s.d))
}

func TestBlobThatNobodyWaitsForComesToItsEnd(t *testing.T) {
	t.Parallel()
	up, s := newFar(t), newSlow(1<<20)
	up.fail(s.answer)
	w := newWorld(t, up, nil)
	ctx, leave := context.WithCancel(t.Context())
	go func() { s.next <- part }()
	gone := w.open(ctx, s.d)
	leave()
	_ = gone.Body.Close()
	close(s.next)
	eventually(t, "the blob is kept", func() bool {
		_, err := w.spaces.get("mirror/"+host).Backend().Blobs.Stat(t.Context(), repo, s.d)
		return err == nil
	})
	if got := w.want(blobPath(s.d), 200); digest.FromString(got.body) != s.d {
		t.Error("other bytes")
	}
	same(t, up.requests(""), "GET "+blobPath(s.d))
}

func TestLieIsCutOff(t *testing.T) {
	t.Parallel()
	honest := []byte(strings.Repeat("honest ", 1000))
	d := digest.FromBytes(honest)
	lie := append([]byte("X"), honest[1:]...)
	for name, fault := range map[string]func(w http.ResponseWriter){
		"digest": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", strconv.Itoa(len(lie)))
			_, _ = w.Write(lie)
		},
		"digest without length": func(w http.ResponseWriter) {
			_, _ = w.Write(lie[:10])
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write(lie[10:])
		},
		"short": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", strconv.Itoa(len(honest)))
			_, _ = w.Write(honest[:5000])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		"another length": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", strconv.Itoa(len(honest)-1))
			_, _ = w.Write(honest[:len(honest)-1])
		},
		"empty": func(w http.ResponseWriter) { w.Header().Set("Content-Length", "0") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := newFar(t)
			up.fail(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Range") != "" { // it does not let itself be mended
					w.WriteHeader(http.StatusNotFound)
					return true
				}
				fault(w)
				return true
			})
			w := newWorld(t, up, nil)
			if got := w.get(blobPath(d)); got.err == nil && got.status == 200 {
				t.Errorf("a whole answer of %d bytes", len(got.body))
			}
			if _, err := w.spaces.get("mirror/"+host).Backend().Blobs.Stat(t.Context(), repo, d); err == nil {
				t.Error("it was kept")
			}
			eventually(t, "no upload is left", func() bool { return w.spaces.get("mirror/"+host).(*space).Uploading() == 0 })
			up.fail(func(w http.ResponseWriter, _ *http.Request) bool {
				_, _ = w.Write(honest)
				return true
			})
			w.clock.add(pullAgain)
			if got := w.want(blobPath(d), 200); digest.FromString(got.body) != d { // a repeated pull succeeds
				t.Error("other bytes afterwards")
			}
		})
	}
}

func TestUnknownLengthIsWaitedFor(t *testing.T) {
	t.Parallel()
	content := strings.Repeat("content ", 10000)
	d := digest.FromString(content)
	up := newFar(t)
	up.fail(func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = io.WriteString(w, content[:100])
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, content[100:])
		return true
	})
	w := newWorld(t, up, nil)
	if got := w.want(blobPath(d), 200); got.body != content || got.header.Get("Content-Length") != strconv.Itoa(len(content)) {
		t.Errorf("%d bytes", len(got.body))
	}
	same(t, up.requests(""), "GET "+blobPath(d))
}

func TestHeadOfABlobFetchesNothing(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	m, layer := up.image(t, repo, "1", "content")
	size, err := up.Backend().Blobs.Stat(t.Context(), repo, layer)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, up, nil)
	for range 2 {
		if got := w.head(blobPath(layer)); got.status != 200 || got.header.Get("Content-Length") != strconv.FormatInt(size, 10) {
			t.Errorf("status %d, length %s", got.status, got.header.Get("Content-Length"))
		}
	}
	same(t, up.requests(""), "HEAD "+blobPath(layer)) // once
	other := newWorld(t, up, nil)
	other.want(manifestPath(m.Digest.String()), 200)
	up.requests("")
	if got := other.head(blobPath(layer)); got.status != 200 || got.header.Get("Content-Length") != strconv.FormatInt(size, 10) {
		t.Errorf("status %d, length %s", got.status, got.header.Get("Content-Length"))
	}
	same(t, up.requests("")) // its manifest told
}

func TestHeadOfAManifestFetchesNothing(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	m, _ := up.image(t, repo, "1", "content")
	w := newWorld(t, up, nil)
	for range 2 {
		if got := w.head(manifestPath("1")); got.status != 200 || got.digest() != m.Digest || got.header.Get("Content-Length") != strconv.FormatInt(m.Size, 10) {
			t.Errorf("status %d, %s", got.status, got.digest())
		}
	}
	same(t, up.requests(""), "HEAD "+manifestPath("1"))
	w.want(manifestPath("1"), 200)
	same(t, up.requests(""), "GET "+manifestPath(m.Digest.String()))
	other := newWorld(t, up, nil)
	if got := other.head(manifestPath(m.Digest.String())); got.status != 200 || got.digest() != m.Digest {
		t.Errorf("status %d, %s", got.status, got.digest())
	}
	same(t, up.requests(""), "HEAD "+manifestPath(m.Digest.String()))
}

func TestBlobOfOneRepositoryIsNotSeenInAnother(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	_, layer := up.image(t, repo, "1", "content")
	up.image(t, "other/app", "1", "other content")
	w := newWorld(t, up, nil)
	w.want(blobPath(layer), 200)
	w.want("other/app/blobs/"+layer.String(), 404)
	up.image(t, "third/app", "1", "content") // now upstream has it there, and says so
	up.requests("")
	eventually(t, "the first is kept", func() bool {
		_, err := w.spaces.get("mirror/"+host).Backend().Blobs.Stat(t.Context(), repo, layer)
		return err == nil
	})
	w.count("upstream", -w.counted("upstream"))
	if got := w.want("third/app/blobs/"+layer.String(), 200); digest.FromString(got.body) != layer {
		t.Error("other bytes")
	}
	if n := w.counted("upstream"); n != 0 { // the bytes are here
		t.Errorf("%d bytes from upstream", n)
	}
}

func TestBlobIsReadFromAnOffset(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	_, layer := up.image(t, repo, "1", "content")
	w := newWorld(t, up, nil)
	rc, err := w.pull.Backend(host).Blobs.Open(t.Context(), repo, layer, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	got, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	want, err := w.up.Backend().Blobs.Open(t.Context(), repo, layer, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	if all, err := io.ReadAll(want); err != nil || string(all) != string(got) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
