package registry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/registry"
)

func memoryBackend() registry.Backend { return pipelinetest.NewRegistry().Backend() }

func TestRangesOfBlobs(t *testing.T) {
	t.Parallel()
	w := memory(t)
	d := w.push("team/app", "0123456789").Digest
	empty := w.push("team/app", "").Digest
	etag := `"` + d.String() + `"`
	for _, c := range []struct {
		d      digest.Digest
		header []string
		status int
		body   string
		field  string
	}{
		{d, nil, 200, "0123456789", ""},
		{d, []string{"Range", "bytes=2-4"}, 206, "234", "bytes 2-4/10"},
		{d, []string{"Range", "bytes=7-"}, 206, "789", "bytes 7-9/10"},
		{d, []string{"Range", "bytes=-3"}, 206, "789", "bytes 7-9/10"},
		{d, []string{"Range", "bytes=-30"}, 206, "0123456789", "bytes 0-9/10"},
		{d, []string{"Range", "bytes=0-99999999999999999999"}, 206, "0123456789", "bytes 0-9/10"},
		{d, []string{"Range", "bytes=10-"}, 416, "", "bytes */10"},
		{d, []string{"Range", "bytes=5-4"}, 416, "", "bytes */10"},
		{d, []string{"Range", "bytes=-0"}, 416, "", "bytes */10"},
		{empty, []string{"Range", "bytes=0-"}, 416, "", "bytes */0"},
		{empty, nil, 200, "", ""},
		{d, []string{"Range", "bytes=0-1,3-4"}, 200, "0123456789", ""},
		{d, []string{"Range", "bytes=a-b"}, 200, "0123456789", ""},
		{d, []string{"Range", "lines=1-2"}, 200, "0123456789", ""},
		{d, []string{"Range", "bytes=-"}, 200, "0123456789", ""},
		{d, []string{"Range", "bytes=2-4", "If-Range", etag}, 206, "234", "bytes 2-4/10"},
		{d, []string{"Range", "bytes=2-4", "If-Range", `"else"`}, 200, "0123456789", ""},
		{d, []string{"If-None-Match", `"else", W/` + etag}, 304, "", ""},
	} {
		a := w.ask("GET", "/v2/team/app/blobs/"+c.d.String(), "", c.header...).want(c.status, "").header("Content-Range", c.field)
		a.header("Docker-Content-Digest", c.d.String())
		if c.status < 400 && a.body != c.body {
			t.Errorf("%q: body %q, want %q", c.header, a.body, c.body)
		}
	}
	head := w.ask("HEAD", "/v2/team/app/blobs/"+d.String(), "", "Range", "bytes=2-4").want(200, "").header("Content-Length", "10")
	head.header("Accept-Ranges", "bytes").header("Content-Type", "application/octet-stream")
}

func TestDeletedBlobIsGone(t *testing.T) {
	t.Parallel()
	w := memory(t)
	d := w.push("team/app", "x").Digest
	w.ask("DELETE", "/v2/team/app/blobs/"+d.String(), "").want(202, "")
	w.wantBlob(d, "")
}

// A readable is a backend that answers with what a test gives it.
type readable struct {
	registry.Blobs
	size int64
	open func() (io.ReadCloser, error)
	err  error
}

func (b readable) Stat(context.Context, string, digest.Digest) (int64, error) { return b.size, b.err }

func (b readable) Open(context.Context, string, digest.Digest, int64) (io.ReadCloser, error) {
	return b.open()
}

// failing is a world whose errors go to the channel.
func failing(t *testing.T, blobs registry.Blobs) (world, chan error) {
	t.Helper()
	failed := make(chan error, 1)
	b := memoryBackend()
	b.Blobs = blobs
	return world{t, registry.New(b, registry.Options{Failed: func(_ *http.Request, err error) { failed <- err }})}, failed
}

var anyBlob = "/v2/team/app/blobs/" + digest.FromString("x").String()

func TestBlobThatEndsEarlyIsNotTakenAsWhole(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]error{"end of file": nil, "error": errors.New("disk on fire")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			half := func() (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(strings.NewReader(strings.Repeat("x", 3<<20)), errorReader{end})), nil
			}
			w, failed := failing(t, readable{size: 4 << 20, open: half})
			srv := httptest.NewServer(w)
			defer srv.Close()
			resp, err := srv.Client().Get(srv.URL + anyBlob)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if n, err := io.Copy(io.Discard, resp.Body); err == nil {
				t.Errorf("a blob of 4 MiB ended well after %d bytes", n)
			}
			if err := <-failed; end != nil && !errors.Is(err, end) {
				t.Errorf("told %v", err)
			}
		})
	}
}

// A client that goes away is no fault of the server's, and nobody is told.
func TestClientThatGoesAwayIsNoFault(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{})
	endless := func() (io.ReadCloser, error) { return closing{zeros{}, closed}, nil }
	w, failed := failing(t, readable{size: 1 << 40, open: endless})
	srv := httptest.NewServer(w)
	defer srv.Close()
	resp, err := srv.Client().Get(srv.URL + anyBlob)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 1<<20)
	_ = resp.Body.Close()
	<-closed // the blob is given back
	if len(failed) > 0 {
		t.Errorf("told %v", <-failed)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type closing struct {
	io.Reader
	closed chan struct{}
}

func (c closing) Close() error { close(c.closed); return nil }

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) {
	if r.err == nil {
		return 0, io.EOF
	}
	return 0, r.err
}

func TestErrorsOfTheBackend(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err    error
		status int
		code   registry.Code
		told   bool
	}{
		"its own":      {errors.New("open /var/secret: no space"), 500, "UNKNOWN", true},
		"too long":     {fmt.Errorf("ask upstream: %w", context.DeadlineExceeded), 504, "UNKNOWN", true},
		"unsupported":  {fmt.Errorf("that: %w", errors.ErrUnsupported), 405, registry.Unsupported, false},
		"denied":       {&registry.Error{Code: registry.Denied, Message: "a key in /root"}, 403, registry.Denied, false},
		"unauthorized": {&registry.Error{Code: registry.Unauthorized}, 401, registry.Unauthorized, false},
		"busy":         {fmt.Errorf("now: %w", &registry.Error{Code: registry.TooManyRequests, RetryAfter: 1500 * time.Millisecond}), 429, registry.TooManyRequests, false},
		"bad gateway":  {&registry.Error{Code: "UNKNOWN", Status: 502, Message: "upstream"}, 502, "UNKNOWN", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, failed := failing(t, readable{err: c.err})
			a := w.ask("GET", anyBlob, "").want(c.status, c.code).header("Content-Type", "application/json")
			if strings.Contains(a.body, "secret") {
				t.Errorf("the client learns %s", a.body)
			}
			if told := len(failed) == 1; told != c.told {
				t.Errorf("told: %v, want %v", told, c.told)
			}
			if name == "busy" {
				a.header("Retry-After", "2")
			}
		})
	}
}

func TestBackendWithoutUploadsIsForReading(t *testing.T) {
	t.Parallel()
	full := memoryBackend()
	raw := over(t, full).artifact(nil)
	over(t, full).put("1", imageType, raw).want(201, "")
	b := full
	b.Uploads = nil
	w := over(t, b)
	w.ask("GET", manifests+"1", "").want(200, "")
	w.ask("POST", uploads, "").want(405, registry.Unsupported)
	w.ask("PATCH", uploads+"00000000-0000-4000-8000-000000000000", "").want(405, registry.Unsupported)
	w.put("2", imageType, raw).want(405, registry.Unsupported)
}
