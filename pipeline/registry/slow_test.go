package registry_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/registry"
)

// A clocked notes the deadlines that are set on a connection.
type clocked struct {
	*httptest.ResponseRecorder
	reads, writes []time.Time
}

func (c *clocked) SetReadDeadline(t time.Time) error  { c.reads = append(c.reads, t); return nil }
func (c *clocked) SetWriteDeadline(t time.Time) error { c.writes = append(c.writes, t); return nil }

// pieces gives one byte at a time, then an error.
type pieces struct {
	n   int
	end error
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.n == 0 {
		return 0, p.end
	}
	p.n--
	b[0] = 'x'
	return 1, nil
}

func TestDeadlinesMoveOnWithTheBytes(t *testing.T) {
	t.Parallel()
	w := memory(t)
	rec := &clocked{ResponseRecorder: httptest.NewRecorder()}
	w.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "PATCH", w.begin(), &pieces{5, io.EOF}))
	if rec.Code != http.StatusAccepted || len(rec.reads) < 7 || !slices.IsSortedFunc(rec.reads[:6], time.Time.Compare) {
		t.Errorf("status %d, deadlines for reading %v", rec.Code, rec.reads)
	}
	if !rec.reads[6].IsZero() {
		t.Error("what is done with the bytes has a deadline too")
	}
	d := w.push("team/app", strings.Repeat("x", 3<<20)).Digest
	rec = &clocked{ResponseRecorder: httptest.NewRecorder()}
	w.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", "/v2/team/app/blobs/"+d.String(), nil))
	if n := len(rec.writes); n < 4 || rec.writes[0].IsZero() || !rec.writes[n-1].IsZero() || !slices.IsSortedFunc(rec.writes[:n-1], time.Time.Compare) {
		t.Errorf("deadlines for writing %v; want one a MiB, and none at the end", rec.writes)
	}
}

// A late source has its bytes long after it is asked for them.
type late struct {
	io.Reader
	came time.Time // the last of them
}

func (l *late) Read(p []byte) (int, error) {
	l.wait()
	return l.Reader.Read(p[:min(len(p), 3)])
}

func (l *late) wait() {
	for l.came = time.Now(); !time.Now().After(l.came); { // a clock has ticks
		runtime.Gosched()
	}
	l.came = time.Now()
}

func (*late) Close() error { return nil }

// growing is one whose bytes arrive in a file.
type growing struct{ *late }

func (g growing) Part(limit int64) (io.Reader, int64, error) {
	g.wait()
	return g.Reader, min(limit, 3), nil
}

type lateBlobs struct {
	registry.Blobs
	src io.ReadCloser
}

func (l lateBlobs) Open(context.Context, string, digest.Digest, int64) (io.ReadCloser, error) {
	return l.src, nil
}

// The client has its time from when there is something to take: it is not cut off because
// an upstream rests.
func TestASlowSourceIsNoSlowClient(t *testing.T) {
	t.Parallel()
	const content, stall = "some bytes that come late", time.Hour
	b := memoryBackend()
	d := over(t, b).push("team/app", content).Digest
	for name, as := range map[string]func(*late) io.ReadCloser{
		"reader": func(l *late) io.ReadCloser { return l }, "growing": func(l *late) io.ReadCloser { return growing{l} },
	} {
		src := &late{Reader: strings.NewReader(content)}
		b := b
		b.Blobs = lateBlobs{b.Blobs, as(src)}
		rec := &clocked{ResponseRecorder: httptest.NewRecorder()}
		registry.New(b, registry.Options{Stall: stall}).ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", "/v2/team/app/blobs/"+d.String(), nil))
		last := rec.writes[len(rec.writes)-2] // then there is none
		if rec.Body.String() != content || last.Before(src.came.Add(stall)) {
			t.Errorf("%s: %q, of which the last bytes came at %s, had to be taken by %s", name, rec.Body, src.came, last)
		}
	}
}

func TestStalledClientIsToldAndMayGoOn(t *testing.T) {
	t.Parallel()
	w := memory(t)
	at := w.begin()
	w.send(httptest.NewRequestWithContext(t.Context(), "PATCH", at, &pieces{5, os.ErrDeadlineExceeded})).want(408, registry.BlobUploadInvalid).header("Range", "0-4")
	w.ask("PUT", with(at, "digest="+digest.FromString("xxxxxy").String()), "y").want(201, "")
}

func TestClientThatGoesAwayMayGoOn(t *testing.T) {
	t.Parallel()
	w := memory(t)
	at := w.begin()
	w.send(httptest.NewRequestWithContext(t.Context(), "PATCH", at, &pieces{5, io.ErrUnexpectedEOF})).want(400, registry.SizeInvalid)
	w.ask("GET", at, "").want(204, "").header("Range", "0-4")
}

// A real connection over which nothing comes any more is given up.
func TestStalledConnectionIsGivenUp(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(registry.New(memoryBackend(), registry.Options{Stall: 20 * time.Millisecond}))
	defer srv.Close()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = fmt.Fprintf(conn, "POST %s?digest=%s HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf", uploads, digest.FromString("x"))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestTimeout {
		t.Errorf("status %d", resp.StatusCode)
	}
}
