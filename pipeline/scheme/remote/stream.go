package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// A stream is one PATCH request whose body is written piece by piece.
type stream struct {
	client *client
	ctx    context.Context //nolint:containedctx // of the request, which outlives the call that starts it
	cancel context.CancelCauseFunc
	pipe   *io.PipeWriter
	dog    *watchdog
	leave  func()
	done   chan struct{} // closed when resp and err are set
	resp   *http.Response
	err    error
}

// startStream starts a PATCH to an upload's address.
func (c *client) startStream(ctx context.Context, to *url.URL) (*stream, error) {
	authorization, err := c.auth.header(ctx, c.auth.scope)
	if err != nil {
		return nil, err
	}
	leave, err := c.gate.enter(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, to.String(), r)
	if err != nil {
		cancel(err)
		leave()
		return nil, fmt.Errorf("%s: bad address", to.Host)
	}
	c.fill(req, http.Header{"Content-Type": {"application/octet-stream"}}, authorization)
	s := &stream{client: c, ctx: ctx, cancel: cancel, pipe: w, leave: leave, done: make(chan struct{})}
	s.dog = newWatchdog(c.cfg.Stall, cancel)
	s.dog.timer.Stop()
	go s.send(req, r)
	return s, nil
}

// send makes the request. It ends when the answer's header is there, or the
// request has failed; then nobody reads the pipe any more.
func (s *stream) send(req *http.Request, r *io.PipeReader) {
	defer close(s.done)
	start := time.Now()
	resp, err := s.client.transport.RoundTrip(req)
	_ = r.Close() // unblocks a writer; a pipe's Close cannot fail
	if err != nil {
		s.err = s.client.connection(req.URL, connectionError(s.ctx, err))
		return
	}
	c := s.client
	c.detail("PATCH %s%s: %d (%s)", req.URL.Host, req.URL.Path, resp.StatusCode, time.Since(start).Round(time.Millisecond))
	resp.Body = &answer{ctx: s.ctx, cancel: s.cancel, body: resp.Body, dog: s.dog, limit: c.cfg.Limiter, gate: c.gate, leave: s.leave}
	if resp.StatusCode/100 == 2 {
		s.resp = resp
		return
	}
	refusal := statusError(resp)
	discard(resp)
	s.err = refusal
	if refusal.Status == http.StatusUnauthorized || refusal.Status == http.StatusNotFound {
		// The token has run out, or the upload: the next one begins with a
		// request that renews it.
		s.err = &cutError{refusal}
	}
}

// write hands bytes to the request. When the request has ended, its error is
// the one to tell.
func (s *stream) write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		part := portion(s.client.cfg.Limiter, p)
		if err := throttle(s.ctx, s.client.cfg.Limiter, len(part)); err != nil {
			return written, context.Cause(s.ctx)
		}
		n, err := s.dog.guard(func() (int, error) { return s.pipe.Write(part) })
		written += n
		s.client.gate.touch()
		if err != nil {
			resp, err := s.wait()
			if err == nil { // it answered success before it had all
				discard(resp)
				err = &cutError{errors.New("the registry ended the upload early")}
			}
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}

// finish ends the body and waits for the answer.
func (s *stream) finish() (*http.Response, error) {
	_ = s.pipe.Close() // a pipe's Close cannot fail
	s.dog.timer.Reset(s.client.cfg.Stall * patience)
	return s.wait()
}

func (s *stream) wait() (*http.Response, error) {
	<-s.done
	s.dog.timer.Stop()
	if s.err != nil {
		s.cancel(errClosed)
		s.leave()
	}
	return s.resp, s.err
}

// abort cuts the request off in its middle: the registry must not take what it
// has for the whole.
func (s *stream) abort() {
	_ = s.pipe.CloseWithError(errClosed) // cannot fail
	s.cancel(errClosed)
	<-s.done
	if s.resp != nil {
		_ = s.resp.Body.Close()
	}
	s.leave()
}
