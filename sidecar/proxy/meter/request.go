package meter

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// An Endpoint is a kind of path of the distribution API.
type Endpoint string

// The endpoints. Other is whatever is none of them.
const (
	EndBase      Endpoint = "base"
	EndBlob      Endpoint = "blob"
	EndUpload    Endpoint = "upload"
	EndManifest  Endpoint = "manifest"
	EndTags      Endpoint = "tags"
	EndReferrers Endpoint = "referrers"
	Other        Endpoint = "other"
)

// classify reads a path from its end, as the registry does. last is its last part.
func classify(path string) (end Endpoint, repository, last string) {
	rest, ok := strings.CutPrefix(path, "/v2")
	switch {
	case !ok:
		return Other, "", ""
	case rest == "" || rest == "/":
		return EndBase, "", ""
	}
	parts := strings.Split(rest, "/") // the first is ""
	n := len(parts)
	if n < 4 {
		return Other, "", ""
	}
	kind, last := parts[n-2], parts[n-1]
	name := strings.Join(parts[1:n-2], "/")
	switch {
	case kind == "blobs" && last == "uploads":
		return EndUpload, name, ""
	case kind == "uploads" && n > 4 && parts[n-3] == "blobs":
		return EndUpload, strings.Join(parts[1:n-3], "/"), ""
	case kind == "blobs":
		return EndBlob, name, last
	case kind == "manifests":
		return EndManifest, name, last
	case kind == "tags" && last == "list":
		return EndTags, name, ""
	case kind == "referrers":
		return EndReferrers, name, last
	}
	return Other, "", ""
}

// method keeps clients from making up labels.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return m
	}
	return "other"
}

// A request key is one series.
type requestKey struct {
	end    Endpoint
	method string
	status int
}

// requests counts answers, and how long they took.
type requests struct {
	counts sync.Map // requestKey ─▶ *atomic.Int64
	times  sync.Map // Endpoint ─▶ *histogram
}

// statusGone is counted where the client went away, or was cut off, before an answer.
const statusGone = 499

func (r *requests) count(k requestKey, took time.Duration) {
	c, ok := r.counts.Load(k)
	if !ok {
		c, _ = r.counts.LoadOrStore(k, new(atomic.Int64))
	}
	c.(*atomic.Int64).Add(1) //nolint:forcetypeassert // nothing else is stored
	h, ok := r.times.Load(k.end)
	if !ok {
		h, _ = r.times.LoadOrStore(k.end, new(histogram))
	}
	h.(*histogram).observe(took) //nolint:forcetypeassert // nothing else is stored
}

// bounds of the times of requests, in seconds: a HEAD takes under a millisecond, a
// layer minutes.
var bounds = [...]float64{0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60}

// A histogram of times; the last count is of those above all bounds.
type histogram struct {
	counts [len(bounds) + 1]atomic.Uint64
	nanos  atomic.Int64
}

func (h *histogram) observe(d time.Duration) {
	i := 0
	for i < len(bounds) && d.Seconds() > bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.nanos.Add(int64(d))
}

// Wrap counts the requests that next answers, and their bytes, and shows those with
// a body as transfers. sendfile(2) and deadlines work through it.
func (m *Meter) Wrap(next http.Handler) http.Handler {
	if m == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		end, repository, last := classify(r.URL.Path)
		began := m.cfg.Now()
		m.inFlight.Add(1)
		a := &answer{ResponseWriter: w, out: m.bytes[ClientOut]}
		defer func() { // also when a body is cut off by a panic
			status := a.status
			if status == 0 {
				status = statusGone
				if r.Context().Err() == nil {
					status = http.StatusOK // an empty body
				}
			}
			m.inFlight.Add(-1)
			m.requests.count(requestKey{end, method(r.Method), status}, m.cfg.Now().Sub(began))
			a.motion.End()
		}()
		a.motion = m.beginRequest(r, end, repository, last)
		if r.Body != nil && r.Body != http.NoBody {
			in := &counted{ReadCloser: r.Body, n: m.bytes[ClientIn]}
			if end == EndUpload {
				in.motion = a.motion
				a.incoming = true
			}
			r2 := *r
			r2.Body = in
			r = &r2
		}
		next.ServeHTTP(a, r)
	})
}

// beginRequest shows a request that moves a blob.
func (m *Meter) beginRequest(r *http.Request, end Endpoint, repository, last string) *Motion {
	switch {
	case end == EndBlob && r.Method == http.MethodGet:
		return m.Begin(Transfer{What: "pull", Repository: repository, Digest: last, Total: -1})
	case end == EndUpload && (r.Method == http.MethodPatch || r.Method == http.MethodPut || r.Method == http.MethodPost) && r.ContentLength != 0:
		return m.Begin(Transfer{What: "push", Repository: repository, Digest: r.URL.Query().Get("digest"), Total: r.ContentLength})
	}
	return nil
}

// An answer counts what is written.
type answer struct {
	http.ResponseWriter
	out      *atomic.Int64
	motion   *Motion
	incoming bool // the motion is the request's body
	status   int
}

var (
	_ io.ReaderFrom = (*answer)(nil)
	_ http.Flusher  = (*answer)(nil)
	_ http.Hijacker = (*answer)(nil)
)

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader remembers the status.
func (a *answer) WriteHeader(status int) {
	a.begins(status)
	a.ResponseWriter.WriteHeader(status)
}

// begins learns what the header says, before it is sent.
func (a *answer) begins(status int) {
	if a.status != 0 || status < http.StatusOK {
		return
	}
	a.status = status
	if !a.incoming {
		a.motion.size(a.Header().Get("Content-Length"))
	}
}

func (a *answer) moved(n int64) {
	a.out.Add(n)
	if !a.incoming {
		a.motion.Add(n)
	}
}

// Write counts.
func (a *answer) Write(p []byte) (int, error) {
	a.begins(http.StatusOK)
	n, err := a.ResponseWriter.Write(p)
	a.moved(int64(n))
	return n, err
}

// ReadFrom lets the kernel send files, and counts.
func (a *answer) ReadFrom(r io.Reader) (int64, error) {
	a.begins(http.StatusOK)
	n, err := io.Copy(a.ResponseWriter, r)
	a.moved(n)
	return n, err
}

// Flush sends what was written.
func (a *answer) Flush() {
	_ = http.NewResponseController(a.ResponseWriter).Flush() // who cannot has nothing to flush
}

// Hijack takes the connection over, where the server lets it.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(a.ResponseWriter).Hijack()
}

// A counted body counts what is read.
type counted struct {
	io.ReadCloser
	n      *atomic.Int64
	motion *Motion
	ended  func(error) // told of the error that ended it; nil tells nobody
}

// Read counts.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	c.motion.Add(int64(n))
	if err != nil && !errors.Is(err, io.EOF) && c.ended != nil {
		c.ended(err)
		c.ended = nil
	}
	return n, err
}
