package remote_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
)

func openURL(t testing.TB) func(context.Context, string) (io.ReadCloser, error) {
	t.Helper()
	open, err := remote.OpenURL(quick())
	if err != nil {
		t.Fatal(err)
	}
	return open
}

// readAll reads a layer and compares it.
func readAll(t testing.TB, l pipeline.Layer, want []byte) {
	t.Helper()
	rc, err := l.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	got, err := io.ReadAll(rc)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes, want %d: %v", len(got), len(want), err)
	}
}

// readBlob reads one blob of a server that h answers for.
func readBlob(t *testing.T, cfg remote.Config, desc ocispec.Descriptor, h http.HandlerFunc) ([]byte, *far, error) {
	t.Helper()
	f := serve(t, h)
	content, err := remote.OpenContent(t.Context(), cfg, f.host()+"/team/app")
	if err != nil {
		t.Fatal(err)
	}
	rc, err := content.Open(t.Context(), desc)
	if err != nil {
		return nil, f, err
	}
	defer rc.Close()
	got, err := io.ReadAll(rc)
	return got, f, err
}

func describe(b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(b), Size: int64(len(b))}
}

// cut sends a part of a body and hangs up.
func cut(w http.ResponseWriter, body []byte) {
	_, _ = w.Write(body)
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func TestDownloadResumes(t *testing.T) {
	t.Parallel()
	body := []byte(noise(3 << 20))
	tests := map[string]func(w http.ResponseWriter, r *http.Request, n int32){
		"after a cut": func(w http.ResponseWriter, r *http.Request, n int32) {
			if n == 1 {
				w.Header().Set("Content-Length", "3145728")
				cut(w, body[:1<<20])
			}
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
		},
		"after a body that ends early": func(w http.ResponseWriter, r *http.Request, n int32) {
			if n == 1 {
				_, _ = w.Write(body[:1<<20]) // chunked: its end looks like a good one
				return
			}
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
		},
		"where ranges are not known": func(w http.ResponseWriter, _ *http.Request, n int32) {
			if n == 1 {
				cut(w, body[:1<<20])
			}
			_, _ = w.Write(body)
		},
		"several times": func(w http.ResponseWriter, r *http.Request, n int32) {
			if n <= 3 {
				w.Header().Set("Content-Range", "bytes "+strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-")+"-3145727/3145728")
				if n > 1 {
					w.WriteHeader(http.StatusPartialContent)
				}
				cut(w, body[int(n-1)*1000:int(n)*1000])
			}
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
		},
		"after a server error in between": func(w http.ResponseWriter, r *http.Request, n int32) {
			switch n {
			case 1:
				cut(w, body[:1<<20])
			case 2:
				w.WriteHeader(http.StatusBadGateway)
			default:
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
			}
		},
	}
	for name, h := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int32
			got, f, err := readBlob(t, quick(), describe(body), func(w http.ResponseWriter, r *http.Request) { h(w, r, n.Add(1)) })
			if err != nil || !bytes.Equal(got, body) {
				t.Fatalf("read %d of %d bytes: %v", len(got), len(body), err)
			}
			if r := f.requests("GET"); r[0].Header.Get("Range") != "" || r[1].Header.Get("Range") == "" {
				t.Errorf("ranges asked for: %q, then %q", r[0].Header.Get("Range"), r[1].Header.Get("Range"))
			}
		})
	}
}

func TestHostileBlobIsAnError(t *testing.T) {
	t.Parallel()
	body := []byte(noise(100_000))
	tests := map[string]struct {
		h    http.HandlerFunc
		want error
	}{
		"other bytes": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.ToUpper(body)) }, pipeline.ErrDigest},
		"a byte more": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(append(bytes.Clone(body), 0)) }, pipeline.ErrDigest},
		"more, in chunks": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(body)
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write(body)
		}, pipeline.ErrDigest},
		"without end": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(body); err != nil {
					return
				}
			}
		}, pipeline.ErrDigest},
		"a length that lies":   {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "5"); cut(w, body[:5]) }, pipeline.ErrDigest},
		"always cut":           {func(w http.ResponseWriter, _ *http.Request) { cut(w, body[:10]) }, io.ErrUnexpectedEOF},
		"a byte at a time":     {func(w http.ResponseWriter, r *http.Request) { drip(w, r, body) }, io.ErrUnexpectedEOF},
		"missing":              {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, pipeline.ErrNotFound},
		"redirects in circles": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"x", http.StatusFound) }, nil},
		"redirects to nowhere": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "gopher://x")
			w.WriteHeader(http.StatusFound)
		}, nil},
		"another range": {func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") == "" {
				cut(w, body[:10])
			}
			w.Header().Set("Content-Range", "bytes 20-99999/100000")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(body[20:])
		}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := readBlob(t, quick(), describe(body), test.h)
			if err == nil || errors.Is(err, io.EOF) {
				t.Fatalf("error is %v", err)
			}
			if test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("error is %v, want %v", err, test.want)
			}
		})
	}
}

// drip sends one byte more for each connection.
func drip(w http.ResponseWriter, r *http.Request, body []byte) {
	from := strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-")
	if from == "" {
		cut(w, body[:1])
	}
	w.Header().Set("Content-Range", "bytes "+from+"-99999/100000")
	w.WriteHeader(http.StatusPartialContent)
	cut(w, []byte{body[len(from)]})
}

func TestHostileDescriptorIsAnError(t *testing.T) {
	t.Parallel()
	for name, desc := range map[string]ocispec.Descriptor{
		"no digest":       {Size: 1},
		"path for digest": {Digest: "sha256:../../../../x", Size: 1},
		"negative size":   {Digest: digest.FromString("x"), Size: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, f, err := readBlob(t, quick(), desc, func(http.ResponseWriter, *http.Request) {})
			if err == nil || len(f.requests("")) > 0 {
				t.Errorf("error is %v after %d requests; want one before any", err, len(f.requests("")))
			}
		})
	}
}

func TestStalledConnectionIsCut(t *testing.T) {
	t.Parallel()
	body := []byte(noise(100_000))
	var n atomic.Int32
	cfg := quick()
	cfg.Stall = 500 * time.Millisecond
	got, _, err := readBlob(t, cfg, describe(body), func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) {
		case 1: // no header
			<-r.Context().Done()
		case 2: // no more after a while
			_, _ = w.Write(body[:1000])
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		default:
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
		}
	})
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("read %d bytes: %v", len(got), err)
	}
}

func TestCancelEndsADownloadAtOnce(t *testing.T) {
	t.Parallel()
	f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("x"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	content, err := remote.OpenContent(t.Context(), remote.Config{}, f.host()+"/team/app")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	rc, err := content.Open(ctx, describe([]byte("xyz")))
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := io.ReadAll(rc); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
}

func TestRefusedConnectionIsTriedAgain(t *testing.T) {
	t.Parallel()
	body := []byte("late")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	cfg := quick()
	tried := 0
	cfg.Events = func(e pipeline.Event) {
		if strings.Contains(e.Message, "again in") || strings.Contains(e.Message, "going on at") {
			tried++
		}
	}
	content, err := remote.OpenContent(t.Context(), cfg, addr+"/team/app")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := content.Open(t.Context(), describe(body)); err == nil || tried != 3 {
		t.Errorf("tried %d times again, want 3: %v", tried, err)
	}
}
