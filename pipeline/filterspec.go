package pipeline

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// A FilterKind is a filter that a program knows.
type FilterKind struct {
	Name    string
	Options []Option // Source and Sink are not looked at
	// Main is the option that a first piece without "=" is the value of, as in
	// recompress:zstd; "": there is none.
	Main string
	Help string
	// New makes the filter; a bad option is a UsageError.
	New func(FilterOptions) (Filter, error)
}

// FilterKinds are the filters that a program knows.
type FilterKinds []FilterKind

// New makes the filter that a specification describes:
//
//	NAME[:option=value[,option=value…]]
//
// A name's case, and whether it has _ or -, do not matter. A piece without "="
// continues the value before it, comma included, so that pattern=a,b works; so
// does whatever a JSON array of strings needs to its end.
func (ks FilterKinds) New(spec string) (Filter, error) {
	name, rest, _ := strings.Cut(spec, ":")
	k, err := ks.Find(name)
	if err != nil {
		return nil, err
	}
	opts, err := k.parse(rest)
	if err != nil {
		return nil, err
	}
	f, err := k.New(opts)
	var wrong *UsageError
	if errors.As(err, &wrong) && strings.HasPrefix(wrong.message, "filter option ") {
		return nil, &UsageError{message: k.Name + ": " + wrong.message, option: wrong.option} // one of several filters
	}
	return f, err
}

// Find returns the kind with a name as users write it; none is a UsageError that
// tells the nearest.
func (ks FilterKinds) Find(name string) (FilterKind, error) {
	name = FilterName(name)
	if name == "" {
		return FilterKind{}, Usage("Empty filter specification")
	}
	var names []string
	for _, k := range ks {
		if k.Name == name {
			return k, nil
		}
		names = append(names, k.Name)
	}
	if near := Nearest(name, names); near != "" {
		return FilterKind{}, Usage("Unknown filter: %s (did you mean %s?)", name, near)
	}
	return FilterKind{}, Usage("Unknown filter: %s (there are %s)", name, strings.Join(names, ", "))
}

// FilterName is the name of a filter in the one way that kinds have it: case,
// and _ or -, do not matter to users.
func FilterName(name string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), "_", "-")
}

func (k FilterKind) parse(s string) (FilterOptions, error) {
	opts := FilterOptions{}
	last, repeats := "", false
	if strings.TrimSpace(s) == "" {
		return opts, nil
	}
	for piece := range strings.SplitSeq(s, ",") {
		if last == "" && k.Main != "" && !strings.Contains(piece, "=") {
			piece = k.Main + "=" + piece
		}
		key, value, ok := strings.Cut(piece, "=")
		if !ok || last != "" && (openList(opts[last]) || !k.knows(key) && !plainWord(key)) {
			if last == "" {
				return nil, Usage("Invalid filter option (missing =): %s", piece)
			}
			opts[last] += "," + piece
			continue
		}
		option, err := k.Option(strings.TrimSpace(key))
		if err != nil && repeats {
			return nil, Usage("%s filter has no option %q; for another %s write %s=%s", k.Name, strings.TrimSpace(key), last, last, strings.TrimSpace(piece))
		}
		if err != nil {
			return nil, err
		}
		last, repeats = option.Name, option.Repeats
		if before, again := opts[last]; again && repeats {
			opts[last] = before + between + strings.TrimSpace(value)
		} else {
			opts[last] = strings.TrimSpace(value)
		}
	}
	return opts, nil
}

// openList says whether a value is the beginning of a JSON array of strings.
func openList(v string) bool {
	v = v[strings.LastIndex(v, between)+1:]
	return strings.HasPrefix(v, `["`) && !json.Valid([]byte(v))
}

func (k FilterKind) knows(key string) bool {
	_, err := k.Option(strings.TrimSpace(key))
	return err == nil
}

// plainWord says whether s could be meant as an option's name; a glob or path
// with "=" in it continues the value before.
func plainWord(s string) bool {
	s = strings.TrimSpace(s)
	return s != "" && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz_-") == ""
}

// Option returns the option with a name or alias; none is a UsageError that tells
// the nearest.
func (k FilterKind) Option(key string) (Option, error) {
	var known []string
	for _, o := range k.Options {
		if o.Name == key || slices.Contains(o.Aliases, key) {
			return o, nil
		}
		known = append(append(known, o.Name), o.Aliases...)
	}
	if near := Nearest(key, known); near != "" {
		return Option{}, Usage("%s filter has no option %q; did you mean %q?", k.Name, key, near)
	}
	return Option{}, Usage("%s filter has no option %q; it takes %s", k.Name, key, strings.Join(known, ", "))
}
