package proxytest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
)

// Of limits a fault to requests of a method and part of a path: "manifests", "blobs".
func Of(method, part string, f Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == method && strings.Contains(r.URL.Path, "/"+part+"/") {
			f(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// First limits a fault to the first n requests that it would answer.
func First(n int64, f Fault) Fault {
	var count atomic.Int64
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if count.Add(1) > n {
			next.ServeHTTP(w, r)
			return
		}
		f(w, r, next)
	}
}

// Status answers with a status and an error of the specification. The body of a
// request is read first, as a client that is refused early sees a reset.
func Status(code int, header ...string) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		drain(r)
		for i := range len(header) / 2 {
			w.Header().Set(header[2*i], header[2*i+1])
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"errors":[{"code":%q,"message":"broken on purpose"}]}`, oci(code))
	}
}

func oci(code int) string {
	switch code {
	case http.StatusUnauthorized:
		return "UNAUTHORIZED"
	case http.StatusForbidden:
		return "DENIED"
	case http.StatusNotFound:
		return "NAME_UNKNOWN"
	case http.StatusTooManyRequests:
		return "TOOMANYREQUESTS"
	}
	return "UNKNOWN"
}

// good is how the registry would have answered.
func good(r *http.Request, next http.Handler) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	next.ServeHTTP(rec, r)
	return rec
}

// Cut promises the whole body, sends the first n bytes of it and hangs up.
func Cut(n int) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		drainAndAnswer(w, r, good(r, next), func(body []byte) []byte { return body[:min(n, len(body))] }, nil)
		panic(http.ErrAbortHandler)
	}
}

// Stall promises the whole body, sends the first n bytes and nothing more, until the
// client goes away or the registry is closed. An answer without a body does not even
// begin.
func Stall(n int) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := good(r, next)
		if rec.Body.Len() > n {
			drainAndAnswer(w, r, rec, func(body []byte) []byte { return body[:n] }, nil)
		}
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
}

// Short lies about the length: the body ends early, and its length says so.
func Short(w http.ResponseWriter, r *http.Request, next http.Handler) {
	half := func(body []byte) []byte { return body[:len(body)/2] }
	drainAndAnswer(w, r, good(r, next), half, half)
}

// Long sends more than it should.
func Long(w http.ResponseWriter, r *http.Request, next http.Handler) {
	more := func(body []byte) []byte { return append(body[:len(body):len(body)], body...) }
	drainAndAnswer(w, r, good(r, next), more, more)
}

// Other sends as many other bytes.
func Other(w http.ResponseWriter, r *http.Request, next http.Handler) {
	drainAndAnswer(w, r, good(r, next), func(body []byte) []byte {
		out := append([]byte{}, body...)
		if len(out) > 0 {
			out[len(out)/2] ^= 0x20
		}
		return out
	}, nil)
}

// WrongDigest names another digest than that of what it sends.
func WrongDigest(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := good(r, next)
	rec.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
	drainAndAnswer(w, r, rec, nil, nil)
}

// drainAndAnswer answers with what send makes of the body; promise, if set, makes what
// the length is that of.
func drainAndAnswer(w http.ResponseWriter, r *http.Request, rec *httptest.ResponseRecorder, send, promise func([]byte) []byte) {
	drain(r)
	body := rec.Body.Bytes()
	promised := body
	if promise != nil {
		promised = promise(body)
	}
	if send != nil {
		body = send(body)
	}
	for name, values := range rec.Header() {
		w.Header()[name] = values
	}
	if r.Method != http.MethodHead {
		w.Header().Set("Content-Length", strconv.Itoa(len(promised)))
	}
	w.WriteHeader(rec.Code)
	_, _ = w.Write(body) // a client that went away
	_ = http.NewResponseController(w).Flush()
}

func drain(r *http.Request) {
	buf := make([]byte, 32<<10)
	for {
		if _, err := r.Body.Read(buf); err != nil {
			return
		}
	}
}
