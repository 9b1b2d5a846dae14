package pipelinetest

import (
	"slices"
	"strings"
	"sync"

	"github.com/occystrap/occystrap/pipeline"
)

// Warnings gathers what the user is told. The zero value is ready; Events and Has
// may be called from many goroutines.
type Warnings struct {
	List []string // in their order, for when the run has ended

	mu sync.Mutex
}

// Events is what a run tells them to.
func (w *Warnings) Events(e pipeline.Event) {
	if e.Kind == pipeline.EventWarning {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.List = append(w.List, e.Message)
	}
}

// Has says whether a warning has a part in it.
func (w *Warnings) Has(part string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.List, func(s string) bool { return strings.Contains(s, part) })
}
