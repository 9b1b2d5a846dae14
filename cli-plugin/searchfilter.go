package cliplugin

import (
	"bytes"
	"io"
	"sync"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
)

// searchResults says where a search filter prints to.
func (p *program) searchResults(to string, events pipeline.Events) func(format string) (filter.SearchResults, error) {
	return func(format string) (filter.SearchResults, error) {
		if loc, err := pipeline.ParseLocation(to); err == nil && isStandardStream(loc) {
			return nil, pipeline.Usage("search filter prints to standard output, where the archive goes; write the archive to a file")
		}
		return newSearchPrinter(p.results, format, events), nil
	}
}

// results is where filters print to. While bars are drawn on the same terminal
// it waits.
type results struct {
	mu   sync.Mutex
	w    io.Writer
	wait bool
	kept bytes.Buffer
}

func (r *results) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wait {
		return r.kept.Write(b)
	}
	return r.w.Write(b)
}

// flush ends the waiting.
func (r *results) flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wait = false
	_, err := r.kept.WriteTo(r.w)
	return err
}
