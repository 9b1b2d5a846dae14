package push

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

const (
	statusUnavailable = http.StatusServiceUnavailable
	retryLater        = 5 * time.Second
	// unknown is the code where the specification has none.
	unknown registry.Code = "UNKNOWN"
	// maxMessage bounds what a client is told, in bytes.
	maxMessage = 600
)

// answer says to a client what went wrong:
//
//	a filter refuses the image             DENIED
//	the downstream refuses our login       DENIED
//	the downstream fails                   500, with what it says
//	what the client sent is wrong          MANIFEST_INVALID, MANIFEST_BLOB_UNKNOWN, NAME_INVALID
//	anything else                          the error, which the Handler logs and does not tell
func answer(err error) error {
	var own *registry.Error
	var status *remote.StatusError
	var netErr net.Error
	side := sideOf(err)
	switch {
	case err == nil, errors.Is(err, errors.ErrUnsupported):
		return err
	case errors.Is(err, errClosed):
		return &registry.Error{Code: registry.TooManyRequests, Status: statusUnavailable, Message: errClosed.Error(), RetryAfter: retryLater}
	case errors.Is(err, context.Canceled):
		return err
	}
	if denied := rules.Denied(err); denied != nil {
		return denied
	}
	switch {
	case errors.Is(err, pipeline.ErrNoPlatform):
		return told(registry.Denied, 0, "the rule for this repository takes other platforms: ", err)
	case side == pipeline.FilterSide:
		return err // it may be about files of this machine
	case side == pipeline.SourceSide && registry.IsMissing(err):
		return told(registry.ManifestBlobUnknown, 0, "push again what it names: ", err)
	case errors.As(err, &own):
		return err
	case errors.As(err, &status) && (status.Status != http.StatusNotFound || side == pipeline.SinkSide):
		return refused(status, err)
	case errors.As(err, &netErr), errors.Is(err, syscall.ECONNREFUSED):
		return told(unknown, http.StatusInternalServerError, "the registry downstream cannot be reached: ", err)
	}
	return ofSide(side, err)
}

// sideOf is the side of a run that an error comes from; "" for an error of no run.
func sideOf(err error) pipeline.Side {
	var side *pipeline.Error
	if errors.As(err, &side) {
		return side.Side
	}
	return ""
}

// refused is what a registry downstream says.
func refused(status *remote.StatusError, err error) error {
	switch status.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return told(registry.Denied, 0, "the registry downstream does not let the proxy do that, with the login that it has there: ", err)
	case http.StatusNotFound:
		return told(unknown, http.StatusInternalServerError, "the registry downstream has no such repository and makes none: ", err)
	case http.StatusTooManyRequests:
		return &registry.Error{Code: registry.TooManyRequests, Message: clean("the registry downstream limits requests: " + err.Error()), RetryAfter: retryLater}
	}
	return told(unknown, http.StatusInternalServerError, "the registry downstream fails: ", err)
}

// ofSide judges by the side of the run that failed.
func ofSide(side pipeline.Side, err error) error {
	var usage *pipeline.UsageError
	var path *fs.PathError
	var system syscall.Errno
	switch {
	case side == pipeline.SinkSide && errors.As(err, &usage):
		return told(registry.NameInvalid, 0, "", err)
	case errors.As(err, &path), errors.As(err, &system):
		return err
	case side == pipeline.SinkSide:
		return told(unknown, http.StatusInternalServerError, "the image could not be kept: ", err)
	case side == pipeline.SourceSide:
		return told(registry.ManifestInvalid, 0, "", err)
	}
	return err
}

func told(code registry.Code, status int, what string, err error) error {
	return &failure{&registry.Error{Code: code, Status: status, Message: clean(what + err.Error())}, err}
}

// A failure is an answer with the error behind it, which the log tells.
type failure struct {
	answer *registry.Error
	err    error
}

func (f *failure) Error() string { return fmt.Sprintf("%s: %v", f.answer.Code, f.err) }

func (f *failure) Unwrap() []error { return []error{f.answer, f.err} }

// clean makes one short line of what strangers may have written.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "") + "…"
	}
	return s
}
