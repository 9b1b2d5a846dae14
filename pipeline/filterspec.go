package pipeline

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
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

// FilterOptions are the options of one -f, by their main name.
type FilterOptions map[string]string

// New makes the filter that a specification describes:
//
//	NAME[:option=value[,option=value…]]
//
// A name's case, and whether it has _ or -, do not matter. A piece without "="
// continues the value before it, comma included, so that pattern=a,b works; so
// does whatever a JSON array of strings needs to its end.
func (ks FilterKinds) New(spec string) (Filter, error) {
	name, rest, _ := strings.Cut(spec, ":")
	name = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), "_", "-")
	if name == "" {
		return nil, Usage("Empty filter specification")
	}
	var names []string
	for _, k := range ks {
		if k.Name == name {
			opts, err := k.parse(rest)
			if err != nil {
				return nil, err
			}
			return k.New(opts)
		}
		names = append(names, k.Name)
	}
	if near := Nearest(name, names); near != "" {
		return nil, Usage("Unknown filter: %s (did you mean %s?)", name, near)
	}
	return nil, Usage("Unknown filter: %s (there are %s)", name, strings.Join(names, ", "))
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
		option, err := k.option(strings.TrimSpace(key))
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
	_, err := k.option(strings.TrimSpace(key))
	return err == nil
}

// plainWord says whether s could be meant as an option's name; a glob or path
// with "=" in it continues the value before.
func plainWord(s string) bool {
	s = strings.TrimSpace(s)
	return s != "" && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz_-") == ""
}

func (k FilterKind) option(key string) (Option, error) {
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

// between stands between the values of an option that repeats: no command line
// can have it.
const between = "\x00"

// List reads an option that repeats; absent is nil.
func (o FilterOptions) List(key string) []string {
	s, ok := o[key]
	if !ok {
		return nil
	}
	return strings.Split(s, between)
}

// Bool reads an on/off option; absent is false.
func (o FilterOptions) Bool(key string) (bool, error) {
	switch strings.ToLower(o[key]) {
	case "", "false", "no", "0":
		return false, nil
	case "true", "yes", "1":
		return true, nil
	}
	return false, Usage("filter option %s is %q; it takes true or false", key, o[key])
}

// Int reads a whole number.
func (o FilterOptions) Int(key string) (v int64, ok bool, err error) {
	s, ok := o[key]
	if !ok {
		return 0, false, nil
	}
	v, err = strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, true, Usage("filter option %s is %q; it takes a whole number", key, s)
	}
	return v, true, nil
}

// Size reads a number of bytes with a suffix k, m, g or t (powers of 1024);
// absent is 0.
func (o FilterOptions) Size(key string) (int64, error) {
	s, ok := o[key]
	if !ok {
		return 0, nil
	}
	digits := strings.TrimRight(strings.TrimSuffix(strings.ToLower(s), "b"), "kmgt")
	suffix := strings.TrimSuffix(strings.ToLower(s)[len(digits):], "b")
	n, err := strconv.ParseInt(digits, 10, 64)
	bits := 10 * (1 + strings.Index("kmgt", suffix))
	if suffix == "" {
		bits = 0
	}
	if err != nil || n <= 0 || len(suffix) > 1 || n > math.MaxInt64>>bits {
		return 0, Usage("filter option %s is %q; it takes a number of bytes, as in 100m", key, s)
	}
	return n << bits, nil
}

// Recompress reads RecompressOption.
func (o FilterOptions) Recompress() (Recompress, error) {
	return ParseRecompress(o[RecompressOption.Name])
}
