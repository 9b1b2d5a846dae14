package cliplugin

import (
	"fmt"
	"io"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
)

// newSearchPrinter prints matches in a format.
func newSearchPrinter(w io.Writer, format string, events pipeline.Events) filter.SearchResults {
	var p filter.SearchResults
	switch format {
	case filter.SearchJSON:
		p = &searchJSON{w: w}
	case filter.SearchScript:
		p = searchScript{w}
	default:
		p = &searchText{w: w}
	}
	return &elsewhere{p, events}
}

// elsewhere warns of layers that were not there to be searched.
type elsewhere struct {
	filter.SearchResults
	events pipeline.Events
}

func (e *elsewhere) End(s filter.SearchSummary) error {
	if s.Elsewhere > 0 {
		e.events.Warn(fmt.Sprintf("%s kept elsewhere by their URLs and not searched (--foreign=fetch brings them)", counted(s.Elsewhere, "layer is", "layers are")))
	}
	return e.SearchResults.End(s)
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// limited counts what is told, and ends the search after so many matches; 0 is
// no limit.
type limited struct {
	filter.SearchResults
	left int
	done filter.SearchSummary
}

func (l *limited) Layer(found filter.SearchedLayer) error {
	enough := l.left > 0 && len(found.Matches) >= l.left
	if enough {
		found.Matches = found.Matches[:l.left]
	}
	l.left -= len(found.Matches)
	if len(found.Matches) > 0 {
		l.done.Layers++
	}
	l.done.Matches += len(found.Matches)
	l.done.Hidden += len(found.Hides)
	l.done.Images = found.Image.Count
	if err := l.SearchResults.Layer(found); err != nil {
		return err
	}
	if enough {
		return errEnough
	}
	return nil
}

func (l *limited) End(s filter.SearchSummary) error {
	l.done = s
	return l.SearchResults.End(s)
}
