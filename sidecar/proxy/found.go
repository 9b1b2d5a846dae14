package proxy

import (
	"log/slog"
	"strings"

	"github.com/occystrap/occystrap/pipeline/filter"
)

// found writes what a search filter finds to the log, a line for each match: there
// is no other place to print to. What is in files is not repeated.
type found struct{ log *slog.Logger }

var _ filter.SearchResults = found{}

// Layer implements filter.SearchResults.
func (f found) Layer(l filter.SearchedLayer) error {
	var names string
	if l.Image != nil {
		names = strings.Join(l.Image.Names, ",")
	}
	for _, m := range l.Matches {
		f.log.Info("found", "image", names, "layer", l.Name().String(), "path", m.Path, "type", m.Type)
	}
	return nil
}

// End implements filter.SearchResults.
func (found) End(filter.SearchSummary) error { return nil }
