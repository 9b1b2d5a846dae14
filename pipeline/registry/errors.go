package registry

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/occystrap/occystrap/pipeline"
)

// A Code is an error code of the specification ("Error Codes").
type Code string

// The specification's codes.
const (
	BlobUnknown         Code = "BLOB_UNKNOWN"
	BlobUploadInvalid   Code = "BLOB_UPLOAD_INVALID"
	BlobUploadUnknown   Code = "BLOB_UPLOAD_UNKNOWN"
	DigestInvalid       Code = "DIGEST_INVALID"
	ManifestBlobUnknown Code = "MANIFEST_BLOB_UNKNOWN"
	ManifestInvalid     Code = "MANIFEST_INVALID"
	ManifestUnknown     Code = "MANIFEST_UNKNOWN"
	NameInvalid         Code = "NAME_INVALID"
	NameUnknown         Code = "NAME_UNKNOWN"
	SizeInvalid         Code = "SIZE_INVALID"
	Unauthorized        Code = "UNAUTHORIZED"
	Denied              Code = "DENIED"
	Unsupported         Code = "UNSUPPORTED"
	TooManyRequests     Code = "TOOMANYREQUESTS"
)

// codeInternal goes with status 500, for which the specification has no code.
const codeInternal Code = "UNKNOWN"

// An Error is answered to the client as it is. A Backend returns one where the
// client is to learn more than that something is not there.
type Error struct {
	Code Code
	// Status is that of HTTP; 0 stands for the usual one of the code.
	Status int
	// Message is one sentence for the user, which clients print.
	Message string
	// Detail is put into the answer as JSON; nil is left out.
	Detail any
	// RetryAfter tells when to come again; 0 does not.
	RetryAfter time.Duration
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// status is the HTTP status of an error.
func (e *Error) status() int {
	if e.Status != 0 {
		return e.Status
	}
	switch e.Code {
	case BlobUnknown, BlobUploadUnknown, ManifestUnknown, NameUnknown:
		return http.StatusNotFound
	case Unauthorized:
		return http.StatusUnauthorized
	case Denied:
		return http.StatusForbidden
	case Unsupported:
		return http.StatusMethodNotAllowed
	case TooManyRequests:
		return http.StatusTooManyRequests
	case codeInternal:
		return http.StatusInternalServerError
	default:
		return http.StatusBadRequest
	}
}

// Answer answers a request with the error.
func (e *Error) Answer(w http.ResponseWriter) {
	type item struct {
		Code    Code   `json:"code"`
		Message string `json:"message,omitempty"`
		Detail  any    `json:"detail,omitempty"`
	}
	raw, err := json.Marshal(map[string][]item{"errors": {{e.Code, e.Message, e.Detail}}})
	if err != nil { // a detail that JSON does not know
		raw = []byte(`{"errors":[{"code":"` + string(codeInternal) + `"}]}`)
	}
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((e.RetryAfter+time.Second-1)/time.Second), 10))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	w.WriteHeader(e.status())
	_, _ = w.Write(raw) // a client that has gone needs no answer
}

// answerFor makes an answer of an error; unknown is the code for what is not
// there.
func answerFor(err error, unknown Code) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, pipeline.ErrNotFound):
		return &Error{Code: unknown, Status: http.StatusNotFound, Message: unknownMessage(unknown)}
	case errors.Is(err, errors.ErrUnsupported):
		return &Error{Code: Unsupported, Message: "this registry does not do that"}
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Code: codeInternal, Status: http.StatusGatewayTimeout, Message: "it took too long"}
	default:
		return &Error{Code: codeInternal, Message: "an error of the registry, which its log tells"}
	}
}

func unknownMessage(code Code) string {
	switch code {
	case BlobUnknown:
		return "the repository has no such blob"
	case BlobUploadUnknown:
		return "there is no such upload; begin another one"
	case ManifestUnknown:
		return "the repository has no such manifest"
	default:
		return "there is no such repository"
	}
}

func badDigest(message string) error { return &Error{Code: DigestInvalid, Message: message} }
