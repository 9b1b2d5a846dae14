package tarstream

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A record is one "key=value" of a PAX header.
type record struct{ key, value string }

// parseRecords reads the content of a PAX header.
func parseRecords(b []byte) ([]record, error) {
	// All records share one copy: 150,000 of them fit into a PAX header.
	shared := string(b)
	out := make([]record, 0, bytes.Count(b, []byte("\n")))
	for shared != "" {
		length, rest, ok := strings.Cut(shared, " ")
		n, err := strconv.Atoi(length)
		if !ok || err != nil || n < len(length)+3 || n > len(shared) || shared[n-1] != '\n' {
			return nil, fmt.Errorf("%w: malformed PAX record", ErrFormat)
		}
		key, value, ok := strings.Cut(rest[:n-len(length)-2], "=")
		if !ok || !validRecord(key, value) {
			return nil, fmt.Errorf("%w: malformed PAX record", ErrFormat)
		}
		out = append(out, record{key, value})
		shared = shared[n:]
	}
	return out, nil
}

// validRecord is archive/tar's rule.
func validRecord(key, value string) bool {
	switch key {
	case "path", "linkpath", "uname", "gname":
		return !strings.Contains(value, "\x00")
	}
	return key != "" && !strings.ContainsAny(key, "=\x00")
}

// lastValues are the records without repeats, of which the last counts.
func lastValues(records []record) (map[string]string, error) {
	last := map[string]string{}
	for _, r := range records {
		last[r.key] = r.value
		if len(last) > maxKeys {
			return nil, fmt.Errorf("%w: more than %d PAX keys for one entry", ErrFormat, maxKeys)
		}
	}
	return last, nil
}

// recordEdit is what becomes of the PAX records that were read. What it does
// not name stays where it is, repeats included: GNU.sparse.offset and numbytes
// are repeated, and GNU tar wants GNU.sparse.numblocks before the map.
type recordEdit struct {
	gone map[string]bool   // keys whose records are dropped
	set  map[string]string // new values: in the place of the old, else at the end
}

func newRecordEdit() recordEdit {
	return recordEdit{map[string]bool{}, map[string]string{}}
}

// drop removes a key's records. A value set for it stands at the very end then.
func (r recordEdit) drop(key string) { r.gone[key] = true }

// others takes over what changed among the records without a Header field.
func (r recordEdit) others(was, is map[string]string) error {
	for key := range was {
		if _, ok := is[key]; !ok {
			r.drop(key)
		}
	}
	for key, value := range is {
		if old, ok := was[key]; ok && old == value {
			continue
		}
		if hasField(key) {
			return fmt.Errorf("PAX record %q belongs into a field of the header", key)
		}
		r.set[key] = value
	}
	return nil
}

// format writes the records that were read, with the edit applied.
func (r recordEdit) format(read []record) (string, error) {
	if len(read)+len(r.set) == 0 {
		return "", nil
	}
	var s strings.Builder
	done := map[string]bool{}
	for _, old := range read {
		value, changed := r.set[old.key]
		switch {
		case r.gone[old.key]:
		case !changed:
			s.WriteString(formatRecord(old.key, old.value))
		case !done[old.key]:
			s.WriteString(formatRecord(old.key, value))
			done[old.key] = true
		}
	}
	keys := slices.Sorted(maps.Keys(r.set))
	for _, moved := range []bool{false, true} {
		for _, key := range keys {
			if !validRecord(key, r.set[key]) {
				return "", fmt.Errorf("PAX record %q=%q cannot be written", key, r.set[key])
			}
			if !done[key] && r.gone[key] == moved {
				s.WriteString(formatRecord(key, r.set[key]))
			}
		}
	}
	return s.String(), nil
}

// formatRecord writes "%d %s=%s\n"; the number counts its own digits.
func formatRecord(key, value string) string {
	const fixed = 3 // space, equals, newline
	size := len(key) + len(value) + fixed
	size += len(strconv.Itoa(size))
	if s := strconv.Itoa(size); len(s)+len(key)+len(value)+fixed != size {
		size++
	}
	return strconv.Itoa(size) + " " + key + "=" + value + "\n"
}
