package meter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
)

// Transport counts what goes through next to a far end: requests and errors by
// host, bytes, and transfers of blobs. host is the name under which the far end is
// configured, since addresses and redirects have others; downstream says which
// side it is.
func (m *Meter) Transport(host string, downstream bool, next http.RoundTripper) http.RoundTripper {
	if m == nil {
		return next
	}
	return &transport{m, host, downstream, next}
}

type transport struct {
	m          *Meter
	host       string
	downstream bool
	next       http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	end, repository, last := classify(r.URL.Path)
	var sent *Motion
	if t.downstream && r.Body != nil && r.Body != http.NoBody {
		if end == EndUpload {
			sent = t.m.Begin(Transfer{What: "send", Host: t.host, Repository: repository, Digest: r.URL.Query().Get("digest"), Total: unknown(r.ContentLength)})
		}
		r = r.Clone(r.Context())
		r.Body = &counted{ReadCloser: r.Body, n: t.m.bytes[DownstreamOut], motion: sent}
	}
	answer, err := t.next.RoundTrip(r)
	sent.End()
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			t.m.asked(t.host, t.downstream, Reason(err), fmt.Errorf("%s %s: %w", r.Method, place(r.URL), bare(err)))
		}
		return nil, err
	}
	t.m.asked(t.host, t.downstream, strconv.Itoa(answer.StatusCode), refusal(r, answer))
	side := UpstreamIn
	if t.downstream {
		side = DownstreamIn
	}
	body := &counted{ReadCloser: answer.Body, n: t.m.bytes[side]}
	if end == EndBlob && r.Method == http.MethodGet && answer.StatusCode < http.StatusMultipleChoices {
		body.motion = t.m.Begin(Transfer{What: "fetch", Host: t.host, Repository: repository, Digest: last, Total: answer.ContentLength})
	}
	body.ended = func(err error) {
		if errors.Is(err, context.Canceled) || errors.Is(err, net.ErrClosed) || r.Context().Err() != nil {
			return
		}
		t.m.cut(t.host, fmt.Errorf("%s %s: the body ended early: %w", r.Method, place(r.URL), err))
	}
	answer.Body = &closing{body}
	return answer, nil
}

func unknown(length int64) int64 {
	if length <= 0 {
		return -1
	}
	return length
}

// closing ends the transfer with the body.
type closing struct{ *counted }

// Close closes the body.
func (c *closing) Close() error {
	c.motion.End()
	return c.counted.Close()
}

var _ io.ReadCloser = (*closing)(nil)

// refusal is the error that an answer is: 5xx and 429. That something is not
// there, or may not be had, is no fault of the far end.
func refusal(r *http.Request, a *http.Response) error {
	if a.StatusCode < http.StatusInternalServerError && a.StatusCode != http.StatusTooManyRequests {
		return nil
	}
	return fmt.Errorf("%s %s: %d %s", r.Method, place(r.URL), a.StatusCode, http.StatusText(a.StatusCode))
}

// place is a URL without what may be secret: user, query (signed addresses) and
// fragment.
func place(u *url.URL) string { return u.Scheme + "://" + u.Host + u.EscapedPath() }

// bare takes the URL out of an error of package http: it may hold a signature.
func bare(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

// cut counts a body that ended early.
func (m *Meter) cut(name string, err error) {
	now := m.cfg.Now()
	downstream := false
	m.hosts.do(name, func(h *host) {
		downstream = h.downstream
		h.failed(now, "cut", err)
	})
	m.logFailure(name, downstream, "cut", err)
}

func (m *Meter) logFailure(name string, downstream bool, reason string, err error) {
	message := "an upstream failed"
	if downstream {
		message = "the downstream failed"
	}
	m.cfg.Log.Warn(message,
		slog.String("host", name), slog.String("reason", reason), slog.String("error", err.Error()))
}

// Reason is a short word for an error of a connection.
func Reason(err error) string {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &dns):
		return "dns"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "unreachable"
	}
	return "failed"
}
