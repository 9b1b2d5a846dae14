package pipelinetest

import (
	"bytes"
	"sync"
)

// A Journal is what a log or a process prints. Many may write and read it at once.
type Journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write appends.
func (j *Journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

// String is all that was written.
func (j *Journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}
