package cliplugin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// maxSettings bounds a file of settings in bytes: nobody writes more by hand, and
// a parser that looks among all keys for duplicates takes long.
const maxSettings = 128 << 10

// A tomlFile is a file in TOML which knows the line of each key.
type tomlFile struct {
	name  string // for messages
	dir   string // what relative paths in it are relative to
	root  map[string]any
	lines map[string]int // by the key's path, joined with dots
}

// readTOML reads a file in TOML. Its errors name the file and the line, and
// repeat no value: that may be a password.
func readTOML(name string) (*tomlFile, error) {
	text, err := readSmall(name)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	f := &tomlFile{name: name, dir: dir, lines: linesOf(text)}
	var wrong *toml.DecodeError
	switch err := toml.Unmarshal(text, &f.root); {
	case errors.As(err, &wrong):
		line, _ := wrong.Position()
		return nil, fmt.Errorf("%s:%d: it is not TOML: %s", name, line, strings.TrimPrefix(wrong.Error(), "toml: "))
	case err != nil:
		return nil, fmt.Errorf("%s: it is not TOML: %s", name, strings.TrimPrefix(err.Error(), "toml: "))
	}
	return f, nil
}

// readSmall reads a file that somebody may have put there for us: a directory, a
// file without an end and one that others may write are refused.
func readSmall(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, withoutPath(err))
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, withoutPath(err))
	}
	const others = 0o002
	switch {
	case info.IsDir():
		return nil, fmt.Errorf("read %s: it is a directory; name a file", name)
	case info.Mode().IsRegular() && info.Mode()&others != 0 && runtime.GOOS != "windows":
		return nil, fmt.Errorf("read %s: everybody may write to it; see to that with chmod o-w", name)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxSettings+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", name, withoutPath(err))
	case len(text) > maxSettings:
		return nil, fmt.Errorf("read %s: it has more than %d bytes, which no file of settings has", name, maxSettings)
	}
	return text, nil
}

// withoutPath is why a file could not be used: its name is said already.
func withoutPath(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// linesOf finds the line of each key, as far as the text can be read: top.key for
// a table's, filter.0.key for those of an array of tables.
func linesOf(text []byte) map[string]int {
	var p unstable.Parser
	p.Reset(text)
	lines, counts := map[string]int{}, map[string]int{}
	line, at, table := 1, uint32(0), ""
	path := func(keys unstable.Iterator) (out string) {
		for keys.Next() {
			k := keys.Node()
			if offset := k.Raw.Offset; offset >= at { // lines are counted once
				line, at = line+bytes.Count(text[at:offset], []byte("\n")), offset
			}
			out = join(out, string(k.Data))
		}
		return out
	}
	for p.NextExpression() {
		switch e := p.Expression(); e.Kind {
		case unstable.Table:
			table = path(e.Key())
			lines[table] = line
		case unstable.ArrayTable:
			name := path(e.Key())
			if counts[name] == 0 {
				lines[name] = line
			}
			table = fmt.Sprintf("%s.%d", name, counts[name])
			counts[name]++
			lines[table] = line
		case unstable.KeyValue:
			key := join(table, path(e.Key()))
			lines[key] = line
		default: // a comment
		}
	}
	return lines
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// wrong is an error about a key, or about the nearest thing around it of which
// the line is known.
func (f *tomlFile) wrong(path, format string, args ...any) error {
	message := fmt.Sprintf(format, args...)
	for at := path; at != ""; at = at[:max(0, strings.LastIndexByte(at, '.'))] {
		if line, ok := f.lines[at]; ok {
			return fmt.Errorf("%s:%d: %s", f.name, line, message)
		}
	}
	return fmt.Errorf("%s: %s", f.name, message)
}

// keys are the keys of the table at a path, in the order of their lines.
func (f *tomlFile) keys(path string, table map[string]any) []string {
	keys := slices.Sorted(maps.Keys(table))
	slices.SortStableFunc(keys, func(a, b string) int { return f.lines[join(path, a)] - f.lines[join(path, b)] })
	return keys
}

// path makes a path in the file one from the file's directory.
func (f *tomlFile) path(s string) string {
	if s == "" || filepath.IsAbs(s) {
		return s
	}
	return filepath.Join(f.dir, s)
}

// typeName names the type of a value for messages.
func typeName(v any) string {
	switch v.(type) {
	case string:
		return "text"
	case bool:
		return "true or false"
	case int64:
		return "a whole number"
	case float64:
		return "a number with a fraction"
	case []any:
		return "an array"
	case map[string]any:
		return "a table"
	}
	return "a time"
}
