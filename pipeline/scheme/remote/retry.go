package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// maxWait bounds a single wait, whatever Retry-After asks for: Docker Hub
	// may ask for hours, and a person waits.
	maxWait = time.Minute
	// jitterPart spreads the retries of many clients over a quarter of the wait.
	jitterPart = 4
)

// A cutError is a connection that failed in a way that may pass.
type cutError struct{ err error }

func (e *cutError) Error() string { return e.err.Error() }

func (e *cutError) Unwrap() error { return e.err }

// A temporaryError is one after which the engine should run the layer again.
type temporaryError struct{ error }

func (e *temporaryError) Unwrap() error { return e.error }

// Temporary is true.
func (*temporaryError) Temporary() bool { return true }

// temporary marks an error that may pass; others stay as they are.
func temporary(err error) error {
	if err == nil || !passes(err) {
		return err
	}
	return &temporaryError{err}
}

// passes says whether the same request may succeed later.
func passes(err error) bool {
	var cut *cutError
	var status *StatusError
	return errors.As(err, &cut) || errors.As(err, &status) && status.passes()
}

// again runs an operation until it succeeds, fails for good, or the retries are
// used up.
func (c *client) again(ctx context.Context, op func() error) error {
	for attempt := 0; ; attempt++ {
		err := op()
		if err == nil || attempt >= c.cfg.Retries || !passes(err) || c.tooLong(err) {
			return err
		}
		wait := c.wait(attempt, err)
		c.detail("%v; again in %s", err, wait.Round(time.Millisecond))
		if stopped := pause(ctx, wait); stopped != nil {
			return stopped
		}
	}
}

// wait is how long to wait after a failed attempt, counted from 0.
func (c *client) wait(attempt int, err error) time.Duration {
	wait := min(c.cfg.Backoff<<min(attempt, 16), maxWait)
	var status *StatusError
	if errors.As(err, &status) && status.retryAfter > 0 {
		return min(status.retryAfter, maxWait)
	}
	return wait + rand.N(wait/jitterPart+1) //nolint:gosec // no secret depends on it
}

// tooLong says whether the registry wants a longer wait than anybody here has.
func (c *client) tooLong(err error) bool {
	var status *StatusError
	return c.cfg.MaxWait > 0 && errors.As(err, &status) && status.retryAfter > c.cfg.MaxWait
}

// Passing says whether an operation failed because the registry is out of order, out
// of reach or out of patience for now: a status of 5xx or 429, a time-out, a
// connection that is refused or cut, no route, no answer of the name service. What is
// kept may stand in for its answer meanwhile. That something is not there, or is not
// for us, is an answer.
func Passing(err error) bool {
	var status *StatusError
	if errors.As(err, &status) {
		return status.Status/100 == 5 || status.passes()
	}
	if errors.Is(err, errAddress) || errors.Is(err, context.Canceled) {
		return false
	}
	var dns *net.DNSError
	var network net.Error
	return passes(err) || errors.As(err, &dns) || errors.As(err, &network) || errors.Is(err, context.DeadlineExceeded)
}

// retryAfter reads the header of that name (RFC 9110, 10.2.3): seconds or a
// date. 0 is none.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}

// connectionError sorts what a round trip failed with: for good, or a cut.
func connectionError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		if errors.Is(cause, errStalled) {
			return &cutError{cause}
		}
		return cause
	}
	var dns *net.DNSError
	if isCertificate(err) || isPlain(err) || errors.Is(err, errAddress) || errors.As(err, &dns) && dns.IsNotFound {
		return err
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // the server hung up; io.EOF would read as an end
	}
	return &cutError{err}
}

// isCertificate says whether the server's certificate is what failed.
func isCertificate(err error) bool {
	var (
		verification *tls.CertificateVerificationError
		authority    x509.UnknownAuthorityError
		host         x509.HostnameError
		invalid      x509.CertificateInvalidError
	)
	return errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid)
}

// isPlain says whether a server asked for HTTPS answered something else.
func isPlain(err error) bool {
	var record tls.RecordHeaderError
	return errors.As(err, &record) || errors.Is(err, http.ErrSchemeMismatch)
}
