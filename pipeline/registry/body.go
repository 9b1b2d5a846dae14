package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	// copySize is the buffer of one body: large enough that calls and hashing in
	// pieces do not count, small enough for hundreds at once.
	copySize = 128 << 10
	// sendSize is how much is sent before the client's deadline moves on. A client
	// slower than that many bytes in Options.Stall (17 KB/s by default) is cut off; the
	// time that src takes is not the client's.
	sendSize = 1 << 20
)

var buffers = sync.Pool{New: func() any { return new([copySize]byte) }}

// A body is what a client sends. The deadline for reading moves on with each
// read, and the client's faults are Errors.
type body struct {
	r     io.Reader
	ctl   *http.ResponseController
	stall time.Duration
}

func (h *Handler) body(w http.ResponseWriter, r *http.Request) *body {
	return &body{r: r.Body, ctl: http.NewResponseController(w), stall: h.o.Stall}
}

func (b *body) Read(p []byte) (int, error) {
	_ = b.ctl.SetReadDeadline(time.Now().Add(b.stall)) // not all connections have deadlines
	n, err := b.r.Read(p)
	switch {
	case err == nil || err == io.EOF:
		return n, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, &Error{Code: BlobUploadInvalid, Status: http.StatusRequestTimeout, Message: "no bytes came for too long"}
	default:
		return n, &Error{Code: SizeInvalid, Message: "the body ended before its length"}
	}
}

// done ends the deadline: what is done with the bytes may take longer, and a
// deadline that passes meanwhile would look like a client that went away.
func (b *body) done() { _ = b.ctl.SetReadDeadline(time.Time{}) }

// copyTo writes at most limit bytes of the body, all for -1, and returns how many.
func (b *body) copyTo(dst io.Writer, limit int64) (int64, error) {
	defer b.done()
	src := io.Reader(b)
	if limit >= 0 {
		src = io.LimitReader(b, limit)
	}
	buf := buffers.Get().(*[copySize]byte) //nolint:forcetypeassert // the pool has nothing else
	defer buffers.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{dst}, src, buf[:])
}

// send writes n bytes of src after the header. The deadline moves on with them. An
// answer that cannot be completed is aborted, so that nobody takes it as whole.
func (h *Handler) send(w http.ResponseWriter, r *http.Request, src io.Reader, n int64) {
	ctl := http.NewResponseController(w)
	move := func() { _ = ctl.SetWriteDeadline(time.Now().Add(h.o.Stall)) } // not all connections have deadlines
	for left := n; left > 0; {
		sent, err := sendPart(w, src, min(left, sendSize), move)
		left -= sent
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			if !ofClient(err) {
				h.tell(r, fmt.Errorf("send %s: %w with %d of %d bytes left", r.URL.Path, err, left, n))
			}
			panic(http.ErrAbortHandler)
		}
	}
	_ = ctl.Flush()                       // while there is a deadline
	_ = ctl.SetWriteDeadline(time.Time{}) // the next request has its own
}

// sendPart writes some bytes of src, at most limit, and returns how many. Move moves the
// deadline on, when there is something to write: a file, which waits for nobody and is
// sent by the kernel, has it at once.
func sendPart(w io.Writer, src io.Reader, limit int64, move func()) (int64, error) {
	if g, ok := src.(Growing); ok {
		var err error
		if src, limit, err = g.Part(limit); err != nil {
			return 0, err
		}
	}
	if _, file := src.(syscall.Conn); file {
		move()
	} else {
		src = moving{src, move}
	}
	return io.CopyN(w, src, limit)
}

// moving reads what may be long in coming.
type moving struct {
	io.Reader
	move func()
}

func (m moving) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	m.move()
	return n, err
}

// ofClient says whether sending failed at the client's end: it is too slow, or has
// gone, which its request's context learns later.
func ofClient(err error) bool {
	var op *net.OpError
	for errors.As(err, &op) && op.Op == "readfrom" { // which has errors of both ends
		err = op.Err
	}
	if errors.As(err, &op) {
		return op.Op == "write"
	}
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, os.ErrDeadlineExceeded)
}

// json answers with a document.
func (h *Handler) json(w http.ResponseWriter, r *http.Request, mediaType string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	h.bytes(w, r, mediaType, raw)
	return nil
}

// bytes answers with a document; the method may be HEAD.
func (h *Handler) bytes(w http.ResponseWriter, r *http.Request, mediaType string, raw []byte) {
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		h.send(w, r, bytes.NewReader(raw), int64(len(raw)))
	}
}
