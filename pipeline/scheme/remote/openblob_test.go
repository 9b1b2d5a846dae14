package remote_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
)

// readFrom reads a blob from an offset on, of a server that h answers for: n counts its
// requests from 1.
func readFrom(t *testing.T, cfg remote.Config, d digest.Digest, offset int64, h func(w http.ResponseWriter, r *http.Request, n int32)) ([]byte, int64, error) {
	t.Helper()
	var n atomic.Int32
	f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h(w, r, n.Add(1)) }))
	rc, size, err := repository(t, cfg, f).OpenBlob(t.Context(), d, offset)
	if err != nil {
		return nil, size, err
	}
	defer rc.Close()
	got, err := io.ReadAll(rc)
	return got, size, err
}

// part answers with a part of a body as a range.
func part(w http.ResponseWriter, body []byte, from, to int, total string) {
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%s", from, to-1, total))
	w.Header().Set("Content-Length", fmt.Sprint(to-from))
	w.WriteHeader(http.StatusPartialContent)
	_, _ = w.Write(body[from:to])
}

func TestOpenBlobResumes(t *testing.T) {
	t.Parallel()
	body := []byte(noise(3 << 20))
	whole := func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	}
	tests := map[string]struct {
		offset int64
		size   int64
		h      func(w http.ResponseWriter, r *http.Request, n int32)
	}{
		"after a cut": {0, 3 << 20, func(w http.ResponseWriter, r *http.Request, n int32) {
			if n == 1 {
				w.Header().Set("Content-Length", "3145728")
				cut(w, body[:1<<20])
			}
			whole(w, r)
		}},
		"from the middle": {1 << 20, 3 << 20, func(w http.ResponseWriter, r *http.Request, n int32) {
			if n == 1 {
				w.Header().Set("Content-Range", "bytes 1048576-3145727/3145728")
				w.Header().Set("Content-Length", "2097152")
				w.WriteHeader(http.StatusPartialContent)
				cut(w, body[1<<20:2<<20])
			}
			whole(w, r)
		}},
		"of no length": {0, -1, func(w http.ResponseWriter, r *http.Request, n int32) {
			if n == 1 {
				cut(w, body[:1<<20]) // in chunks
			}
			whole(w, r)
		}},
		"of no length at all": {7, -1, func(w http.ResponseWriter, _ *http.Request, n int32) {
			if n == 1 {
				cut(w, body[:1<<20])
			}
			_, _ = w.Write(body)
		}},
		"in parts": {0, 3 << 20, func(w http.ResponseWriter, r *http.Request, _ int32) {
			from := 0
			_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
			part(w, body, from, min(from+1<<20, len(body)), "3145728")
		}},
		"after a stall": {0, 3 << 20, func(w http.ResponseWriter, r *http.Request, n int32) {
			if n == 1 {
				w.Header().Set("Content-Length", "3145728")
				_, _ = w.Write(body[:100])
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
				return
			}
			whole(w, r)
		}},
		"after the storage behind a redirect was lost": {0, 3 << 20, func(w http.ResponseWriter, r *http.Request, n int32) {
			switch {
			case strings.Contains(r.URL.Path, "/blobs/"): // a new address each time
				http.Redirect(w, r, fmt.Sprintf("/storage?signature=%d", n), http.StatusTemporaryRedirect)
			case n == 2:
				w.Header().Set("Content-Length", "3145728")
				cut(w, body[:1<<20])
			case r.URL.RawQuery != "signature=3":
				w.WriteHeader(http.StatusForbidden)
			default:
				whole(w, r)
			}
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := quick()
			if strings.Contains(name, "stall") {
				cfg.Stall = time.Second
			}
			got, size, err := readFrom(t, cfg, digest.FromBytes(body), test.offset, test.h)
			if err != nil || !bytes.Equal(got, body[test.offset:]) || size != test.size {
				t.Fatalf("read %d bytes, of %d that were told: %v", len(got), size, err)
			}
		})
	}
}

func TestOpenBlobOfALiar(t *testing.T) {
	t.Parallel()
	body := []byte(noise(100_000))
	begin := func(w http.ResponseWriter) {
		w.Header().Set("Content-Length", "100000")
		cut(w, body[:1000])
	}
	tests := map[string]struct {
		h    func(w http.ResponseWriter, r *http.Request, n int32)
		want error
	}{
		"another length when it goes on": {func(w http.ResponseWriter, _ *http.Request, n int32) {
			if n == 1 {
				begin(w)
			}
			part(w, body, 1000, 2000, "2000")
		}, pipeline.ErrDigest},
		"a longer one": {func(w http.ResponseWriter, _ *http.Request, n int32) {
			if n == 1 {
				begin(w)
			}
			part(w, append(bytes.Clone(body), body...), 1000, 150_000, "*")
		}, pipeline.ErrDigest},
		"a longer whole": {func(w http.ResponseWriter, _ *http.Request, n int32) {
			if n == 1 {
				begin(w)
			}
			_, _ = w.Write(append(bytes.Clone(body), body...)) // in chunks
		}, pipeline.ErrDigest},
		"a range that is not what is sent": {func(w http.ResponseWriter, _ *http.Request, n int32) {
			if n == 1 {
				begin(w)
			}
			w.Header().Set("Content-Range", "bytes 1000-99999/100000")
			w.Header().Set("Content-Length", "5")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(body[:5])
		}, pipeline.ErrDigest},
		"a range that ends before it begins": {func(w http.ResponseWriter, _ *http.Request, n int32) {
			if n == 1 {
				begin(w)
			}
			w.Header().Set("Content-Range", "bytes 1000-10/100000")
			w.WriteHeader(http.StatusPartialContent)
		}, nil},
		"a range beyond all numbers": {func(w http.ResponseWriter, _ *http.Request, n int32) {
			if n == 1 {
				begin(w)
			}
			w.Header().Set("Content-Range", "bytes 1000-9223372036854775807/9223372036854775807")
			w.WriteHeader(http.StatusPartialContent)
		}, nil},
		"a later range": {func(w http.ResponseWriter, _ *http.Request, n int32) {
			if n == 1 {
				begin(w)
			}
			part(w, body, 2000, 100_000, "100000")
		}, nil},
		"always cut": {func(w http.ResponseWriter, _ *http.Request, _ int32) { begin(w) }, io.ErrUnexpectedEOF},
		"gone meanwhile": {func(w http.ResponseWriter, _ *http.Request, n int32) {
			if n == 1 {
				begin(w)
			}
			w.WriteHeader(http.StatusNotFound)
		}, pipeline.ErrNotFound},
		"forbidden meanwhile": {func(w http.ResponseWriter, _ *http.Request, n int32) {
			if n == 1 {
				begin(w)
			}
			w.WriteHeader(http.StatusForbidden)
		}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, size, err := readFrom(t, quick(), digest.FromBytes(body), 0, test.h)
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("error is %v, want %v", err, test.want)
			}
			if size != int64(len(body)) || len(got) > len(body) {
				t.Errorf("%d bytes came of %d that were promised", len(got), size)
			}
		})
	}
}

func TestTokenThatEndsInMidBlobIsRenewed(t *testing.T) {
	t.Parallel()
	body := []byte(noise(100_000))
	var n atomic.Int32
	d := newDoor(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			w.Header().Set("Content-Length", "100000")
			cut(w, body[:1000])
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	}), &door{uses: 1})
	rc, _, err := repository(t, quick(), d.far).OpenBlob(t.Context(), digest.FromBytes(body), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	got, err := io.ReadAll(rc)
	if err != nil || !bytes.Equal(got, body) || d.issued != 2 {
		t.Errorf("read %d bytes with %d tokens, want 2: %v", len(got), d.issued, err)
	}
}

func TestServerThatSaysNothingIsGivenUp(t *testing.T) {
	t.Parallel()
	cfg := quick()
	cfg.Stall, cfg.Retries = 200*time.Millisecond, -1
	_, _, err := readFrom(t, cfg, digest.FromString("x"), 0, func(_ http.ResponseWriter, r *http.Request, _ int32) { <-r.Context().Done() })
	if err == nil || !remote.Passing(err) {
		t.Errorf("error is %v; want one that passes", err)
	}
}
