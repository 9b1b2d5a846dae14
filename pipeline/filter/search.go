package filter

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// SearchOptions say what a search looks for.
type SearchOptions struct {
	// Pattern is a shell pattern, for whole names or their last part; with Regex
	// a regular expression, for any part of the name; with Content alone, text.
	Pattern string
	Regex   bool
	// Content looks inside regular files, line by line, and not at names.
	Content bool
	// Visible gives only what is in the finished image: what no later layer
	// deletes or replaces. Each image is told when its last layer is known.
	Visible bool
}

// searcher is the filter search. It looks for names, or for text in files, in
// every layer, and changes nothing. What it finds is told in the order of images
// and layers, as soon as all layers before it have been read:
//
//	layers, in any order ─▶ searching: matches, trace ─▶ timeline ─▶ SearchResults
//
// A layer is told before those above it are known. What one of them deletes or
// replaces is told with that one, so the order and the words never depend on
// which layer was read first.
//
// In memory are the matches of each image at work, and for each layer that was
// read before those below it 8 bytes for each entry.
type searcher struct {
	opts SearchOptions
	find finder
	seed maphash.Seed

	mu       sync.Mutex
	attempts map[pipeline.LayerID]*finding // what the latest handler saw
	line     timeline
}

var (
	_ pipeline.Watcher  = (*searcher)(nil)
	_ pipeline.Finisher = (*searcher)(nil)
)

// NewSearch returns the filter that looks for something and tells to what it
// finds.
func NewSearch(o SearchOptions, to SearchResults) (pipeline.Filter, error) {
	s, err := newSearcher(o)
	if err != nil {
		return nil, err
	}
	s.line.to = to
	return s, nil
}

func newSearcher(o SearchOptions) (*searcher, error) {
	find, err := newFinder(o)
	return &searcher{
		opts: o, find: find, seed: maphash.MakeSeed(),
		attempts: map[pipeline.LayerID]*finding{},
		line:     timeline{visible: o.Visible, done: map[pipeline.LayerID]*finding{}, uses: map[pipeline.LayerID]int{}},
	}, err
}

func searchKind(d Defaults) pipeline.FilterKind {
	return pipeline.FilterKind{
		Name: "search",
		Help: "print what matches in all layers",
		Options: []pipeline.Option{
			{Name: "pattern", Help: "what to look for"},
			{Name: "regex", Help: "true: pattern is a regular expression"},
			{Name: "content", Help: "true: look inside regular files"},
			{Name: "visible", Help: "true: only what no later layer deletes or replaces"},
			{Name: "script-friendly", Aliases: []string{"script_friendly"}, Help: "true is format=script"},
			{Name: "format", Help: "text (default), script or json"},
		},
		New: func(o pipeline.FilterOptions) (pipeline.Filter, error) { return newSearchFilter(d, o) },
	}
}

func newSearchFilter(d Defaults, o pipeline.FilterOptions) (pipeline.Filter, error) {
	opts := SearchOptions{Pattern: o["pattern"]}
	script := false
	for name, value := range map[string]*bool{
		"regex": &opts.Regex, "content": &opts.Content, "visible": &opts.Visible, "script-friendly": &script,
	} {
		var err error
		if *value, err = o.Bool(name); err != nil {
			return nil, err
		}
	}
	if opts.Pattern == "" {
		return nil, pipeline.Usage("search filter needs a pattern, as in search:pattern=*.pem")
	}
	format, err := searchFormat(o["format"], script)
	if err != nil {
		return nil, err
	}
	s, err := newSearcher(opts)
	if err != nil {
		return nil, err
	}
	if d.Search == nil {
		return nil, pipeline.Usage("search filter cannot be used here: there is nowhere to print to")
	}
	s.line.to, err = d.Search(format)
	return s, err
}

// searchFormat is one of the formats; script-friendly is the older word for one.
func searchFormat(format string, script bool) (string, error) {
	switch format {
	case "", SearchScript:
		if script || format != "" {
			return SearchScript, nil
		}
		return SearchText, nil
	case SearchText, SearchJSON:
		if script {
			return "", pipeline.Usage("search filter has script-friendly=true and format=%s; give one", format)
		}
		return format, nil
	}
	return "", pipeline.BadValue("format", format, SearchText+", "+SearchScript+" or "+SearchJSON)
}

// Recipe says that layers stay as they are.
func (s *searcher) Recipe() pipeline.Recipe {
	return pipeline.Recipe{
		Key:     fmt.Sprintf("search:content=%t,regex=%t,visible=%t,pattern=%s", s.opts.Content, s.opts.Regex, s.opts.Visible, s.opts.Pattern),
		Content: s.opts.Content,
	}
}

// Layer returns the handler that looks at one layer.
func (s *searcher) Layer(_ context.Context, l pipeline.LayerInfo, next tarstream.Handler) (tarstream.Handler, error) {
	f := &finding{trace: trace{seed: s.seed}, diffID: l.DiffID}
	s.mu.Lock()
	s.attempts[l.ID] = f
	s.mu.Unlock()
	h := &searching{find: s.find, next: next, finding: f}
	if f.filtered = l.Filtered; l.Filtered && !l.Final {
		h.sum = tarstream.NewSum(next)
		h.next = h.sum
	}
	return h, nil
}

// Images tells which layers make up which image.
func (s *searcher) Images(images []pipeline.ImageLayers) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.line.plan(images)
}

// Done tells what was found in a layer, once those before it have been told.
func (s *searcher) Done(l pipeline.LayerSeen) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.attempts[l.ID]
	delete(s.attempts, l.ID)
	if f == nil || l.Err != nil {
		f = &finding{err: l.Err}
	}
	if f.filtered && f.here == "" {
		f.here = l.DiffID
	}
	if f.here != "" {
		f.changed = l.SourceDiffID != "" && l.SourceDiffID != f.here
		f.diffID = f.here
	}
	return s.line.add(l.ID, f)
}

// Finish tells how much was found.
func (s *searcher) Finish(context.Context, []pipeline.Manifest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.line.end()
}
