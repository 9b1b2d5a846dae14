package daemon

import (
	"bytes"
	"encoding/json"
	"io"
	"sync"
)

// An export is the body of an export. A daemon whose export goes wrong half way
// has sent status 200 already, so it appends its error as JSON to the archive
// (moby, daemon/server/router/image): the end of the body is remembered.
type export struct {
	rc   io.ReadCloser
	once sync.Once
	err  error

	mu  sync.Mutex
	end []byte
}

// complaintSize holds the longest error of a daemon that is worth showing.
const complaintSize = 4 << 10

// Read reads the archive.
func (e *export) Read(p []byte) (int, error) {
	n, err := e.rc.Read(p)
	e.mu.Lock()
	defer e.mu.Unlock()
	if n >= complaintSize {
		e.end = append(e.end[:0], p[n-complaintSize:n]...)
		return n, err
	}
	if over := len(e.end) + n - complaintSize; over > 0 {
		e.end = append(e.end[:0], e.end[over:]...)
	}
	e.end = append(e.end, p[:n]...)
	return n, err
}

// Close ends the export; again is harmless.
func (e *export) Close() error {
	e.once.Do(func() { e.err = e.rc.Close() })
	return e.err
}

// complaint is the error that the daemon appended; "" for none.
func (e *export) complaint() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := bytes.LastIndex(e.end, []byte(`{"errorDetail"`))
	if at < 0 {
		return ""
	}
	var m message
	if json.Unmarshal(e.end[at:], &m) != nil {
		return ""
	}
	return m.complaint()
}
