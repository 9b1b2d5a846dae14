package pipeline

import (
	"net/url"
	"slices"
	"strings"
)

// A Scheme is a kind of place that images can live in.
type Scheme struct {
	Name    string
	Aliases []string
	// Options are the query options that its locations take.
	Options []Option
	// Source and Sink open one end at a location; nil where the scheme has no
	// such end.
	Source func(Location) (Source, error)
	Sink   func(Location) (Sink, error)
	// Inventor opens what lists the layers of a location; nil where nothing does.
	// Closing what it opened is its own affair.
	Inventor func(Location) (Inventor, error)
}

// An Option is one query option of a scheme.
type Option struct {
	Name    string
	Aliases []string
	// Source and Sink say at which ends it has a meaning.
	Source, Sink bool
	// Repeats: a filter takes it several times (FilterOptions.List).
	Repeats bool
	// Form: what a filter's option is, for who gives it in a file.
	Form Form
	Help string
}

// A Form says what the text of a filter's option means, so that a file can give
// it as what it is.
type Form int

// The forms of options.
const (
	Text  Form = iota // what it says
	List              // several values, which commas separate (FilterOptions.Split)
	Words             // a command: its words as a JSON array, or a line for a shell
	File              // the name of a file
)

// Schemes are the kinds of places that a program knows.
type Schemes []Scheme

// Source opens the source that a URI names.
func (s Schemes) Source(uri string) (Source, error) {
	loc, sch, err := s.find(uri, "input")
	if err != nil {
		return nil, err
	}
	if sch.Source == nil {
		return nil, Usage("%s:// cannot be read from; sources are %s", sch.Name, s.names(SourceSide))
	}
	if err := sch.checkOptions(loc, SourceSide); err != nil {
		return nil, err
	}
	return sch.Source(loc)
}

// Sink opens the sink that a URI names.
func (s Schemes) Sink(uri string) (Sink, error) {
	loc, sch, err := s.find(uri, "output")
	if err != nil {
		return nil, err
	}
	if sch.Sink == nil {
		return nil, Usage("%s:// cannot be written to; destinations are %s", sch.Name, s.names(SinkSide))
	}
	if err := sch.checkOptions(loc, SinkSide); err != nil {
		return nil, err
	}
	return sch.Sink(loc)
}

// Inventor opens what lists the layers that a destination's URI has. It takes
// the options of a destination, and those of a source where there is none.
func (s Schemes) Inventor(uri string) (Inventor, error) {
	loc, sch, err := s.find(uri, "output")
	if err != nil {
		return nil, err
	}
	if sch.Inventor == nil {
		return nil, Usage("%s:// cannot be listed; inventories are of docker://, containerd://, registry://, dir:// and tar://", sch.Name)
	}
	side := SinkSide
	if sch.Sink == nil {
		side = SourceSide
	}
	if err := sch.checkOptions(loc, side); err != nil {
		return nil, err
	}
	return sch.Inventor(loc)
}

func (s Schemes) find(uri, direction string) (Location, Scheme, error) {
	loc, err := ParseLocation(uri)
	if err != nil {
		return loc, Scheme{}, err
	}
	for _, sch := range s {
		if sch.Name == loc.Scheme || slices.Contains(sch.Aliases, loc.Scheme) {
			loc.Scheme = sch.Name
			return loc, sch, nil
		}
	}
	var all []string
	for _, sch := range s {
		all = append(all, sch.Name)
	}
	if near := Nearest(loc.Scheme, all); near != "" {
		return loc, Scheme{}, Usage("Unknown %s scheme: %s (did you mean %s://?)", direction, loc.Scheme, near)
	}
	return loc, Scheme{}, Usage("Unknown %s scheme: %s (there are %s)", direction, loc.Scheme, strings.Join(all, ", "))
}

func (s Schemes) names(side Side) string {
	var n []string
	for _, sch := range s {
		if side == SourceSide && sch.Source != nil || side == SinkSide && sch.Sink != nil {
			n = append(n, sch.Name+"://")
		}
	}
	return strings.Join(n, ", ")
}

// checkOptions refuses a query option that the scheme does not know at this
// end: a mistyped option that is ignored does damage quietly.
func (sch Scheme) checkOptions(loc Location, side Side) error {
	var known []string
	for _, o := range sch.Options {
		if side == SourceSide && o.Source || side == SinkSide && o.Sink {
			known = append(append(known, o.Name), o.Aliases...)
		}
	}
	for key := range loc.Query {
		if slices.Contains(known, key) {
			continue
		}
		for _, o := range sch.Options {
			if o.Name == key || slices.Contains(o.Aliases, key) {
				return Usage("the option %q of %s:// has no meaning for a %s", key, sch.Name, side)
			}
		}
		if near := Nearest(key, known); near != "" {
			return Usage("%s:// has no option %q; did you mean %q?", sch.Name, key, near)
		}
		if len(known) == 0 {
			return Usage("%s:// has no option %q; it takes none", sch.Name, key)
		}
		return Usage("%s:// has no option %q; it takes %s", sch.Name, key, strings.Join(known, ", "))
	}
	return nil
}

// A Location is a parsed URI.
type Location struct {
	Scheme string
	// User is the userinfo of the authority; nil for none. It may hold a
	// password: print a Location with String only.
	User *url.Userinfo
	// Host is the authority without userinfo, as written, with its port.
	Host string
	// Path is the rest, percent-decoded, without query and fragment. For file
	// schemes FilePath joins both.
	Path string
	// Query holds the options; a repeated key's last value wins, blank values
	// are dropped.
	Query map[string]string
}
