package pipeline

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// FilterOptions are the options of one filter, by their main name.
type FilterOptions map[string]string

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

// Give sets an option to several values, each of which is taken as it is, commas
// included: as an array in a file has them. An option that takes one value is a
// UsageError.
func (o FilterOptions) Give(option Option, values []string) error {
	for _, v := range values {
		if strings.Contains(v, between) {
			return BadValue(option.Name, v, "text without NUL")
		}
	}
	all := strings.Join(values, between)
	switch {
	case len(values) == 0 && option.Repeats: // nothing to set
	case len(values) == 0 && option.Form == Words:
		o[option.Name] = ""
	case option.Repeats:
		o[option.Name] = all
	case option.Form == List:
		o[option.Name] = between + all
	case option.Form == Words:
		words, err := json.Marshal(values)
		if err != nil {
			return err
		}
		o[option.Name] = string(words)
	default:
		return &UsageError{message: "filter option " + option.Name + " is an array; it takes one value", option: option.Name}
	}
	return nil
}

// Split reads an option with the form List: what commas separate, or what was
// given as several values. Empty values are left out; absent is nil.
func (o FilterOptions) Split(key string) (out []string) {
	given, several := strings.CutPrefix(o[key], between)
	separator := ","
	if several {
		separator = between
	}
	for v := range strings.SplitSeq(given, separator) {
		if !several {
			v = strings.TrimSpace(v)
		}
		if v != "" {
			out = append(out, v)
		}
	}
	return out
}

// Bool reads an on/off option; absent is false.
func (o FilterOptions) Bool(key string) (bool, error) {
	switch strings.ToLower(o[key]) {
	case "", "false", "no", "0":
		return false, nil
	case "true", "yes", "1":
		return true, nil
	}
	return false, BadValue(key, o[key], "true or false")
}

// Int reads a whole number.
func (o FilterOptions) Int(key string) (v int64, ok bool, err error) {
	s, ok := o[key]
	if !ok {
		return 0, false, nil
	}
	v, err = strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, true, BadValue(key, s, "a whole number")
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
		return 0, BadValue(key, s, "a number of bytes, as in 100m")
	}
	return n << bits, nil
}

// Recompress reads RecompressOption.
func (o FilterOptions) Recompress() (Recompress, error) {
	mode, err := ParseRecompress(o[RecompressOption.Name])
	if err != nil {
		return "", &UsageError{message: err.Error(), option: RecompressOption.Name}
	}
	return mode, nil
}
