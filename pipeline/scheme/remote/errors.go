package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/occystrap/occystrap/pipeline"
)

// A StatusError is a registry's refusal: the HTTP status and what the registry
// says of it (distribution-spec, "Error Codes").
type StatusError struct {
	// Status is the HTTP status code.
	Status int
	// Code is the registry's first error code ("MANIFEST_UNKNOWN"); "" for none.
	Code string
	// Message is the registry's own text, made safe to print; "" for none.
	Message string

	host       string
	retryAfter time.Duration
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s answers %d %s", e.host, e.Status, http.StatusText(e.Status))
	if e.Code != "" {
		text += ": " + e.Code
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// Is makes a 404 an ErrNotFound.
func (e *StatusError) Is(target error) bool {
	return target == pipeline.ErrNotFound && e.Status == http.StatusNotFound
}

// RetryAfter is how long the registry asks to be left alone; 0 if it does not.
func (e *StatusError) RetryAfter() time.Duration { return e.retryAfter }

// passes says whether the refusal is for now only.
func (e *StatusError) passes() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

const (
	// errorBody bounds what is read of a refusal; registries send a few lines,
	// proxies in front of them whole pages.
	errorBody = 64 << 10
	// messageSize bounds what is shown of it.
	messageSize = 300
)

// statusError reads a refusal. It leaves the body open.
func statusError(resp *http.Response) *StatusError {
	e := &StatusError{Status: resp.StatusCode, host: resp.Request.URL.Host, retryAfter: retryAfter(resp.Header, time.Now())}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, errorBody))
	if err != nil || len(raw) == 0 {
		return e
	}
	var body struct {
		Errors []struct {
			Code    string          `json:"code"`
			Message string          `json:"message"`
			Detail  json.RawMessage `json:"detail"`
		} `json:"errors"`
		Details string `json:"details"` // of Docker's and ggcr's token servers
		Message string `json:"message"`
	}
	if json.Unmarshal(raw, &body) != nil {
		return e // a page of HTML helps nobody
	}
	var messages []string
	for i, item := range body.Errors {
		if i == 0 {
			e.Code = printable(item.Code)
		}
		text := item.Message
		if detail := string(item.Detail); detail != "" && detail != "null" {
			text += " " + detail
		}
		messages = append(messages, text)
	}
	if messages == nil {
		messages = []string{body.Details, body.Message}
	}
	e.Message = printable(strings.TrimSpace(strings.Join(messages, "; ")))
	return e
}

// printable makes a stranger's text safe for a terminal and short.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) > messageSize {
		s = strings.ToValidUTF8(s[:messageSize], "") + "…"
	}
	return s
}

// explain adds the remedy to a refusal of a request about one thing (a
// manifest, an upload).
func (c *client) explain(err error, what string) error {
	if isCertificate(err) {
		return fmt.Errorf("%s: %w (give its authority with ?ca=FILE, or trust it blindly with ?skip_verify=true)", what, err)
	}
	var status *StatusError
	if !errors.As(err, &status) {
		return fmt.Errorf("%s: %w", what, err)
	}
	switch status.Status {
	case http.StatusUnauthorized:
		return fmt.Errorf("%s: %w (log in with docker login %s, or give %s)", what, err, c.ref.Host, c.credsFlag)
	case http.StatusForbidden:
		return fmt.Errorf("%s: %w (%s has no right to it: log in as somebody who has, with docker login %s or %s)", what, err, c.auth.who(), c.ref.Host, c.credsFlag)
	case http.StatusNotFound:
		return fmt.Errorf("%s: %w", what, err)
	case http.StatusTooManyRequests:
		return fmt.Errorf("%s: %w (the registry limits requests: log in, or try later)", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
