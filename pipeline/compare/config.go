package compare

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// A Difference is a field that differs.
type Difference struct {
	// Field is the path of the field in the config, "config.Env.PATH", or in the
	// manifest, "annotations.NAME".
	Field string
	// A and B are its values as encoding/json decodes them; nil where it is missing
	// or empty.
	A, B any
}

// History is how histories differ.
type History struct {
	A, B int // entries
	// First is the lowest entry that differs, from 0.
	First int
	// Entries are all that differ, as "history[N]".
	Entries []Difference
}

// Fields that say when something was made.
const (
	created           = "created"
	annotationCreated = "org.opencontainers.image.created"
)

// told are the fields that a daemon tells of an image that it does not export.
var told = []string{"architecture", "config", created, "os", "variant"}

// configDifferences are those of configs and annotations, by field. Diff IDs and
// the history are not among them.
func configDifferences(a, b *Image, ignoreTimes bool) (out []Difference) {
	if a.Config.Digest == "" || a.Config.Digest != b.Config.Digest {
		keys := keysOf(a.config, b.config)
		for _, k := range keys {
			switch {
			case k == "rootfs", k == "history", k == created && ignoreTimes:
			case (a.bare || b.bare) && !slices.Contains(told, k):
			case k == "config":
				out = append(out, containerDifferences(object(a.config[k]), object(b.config[k]))...)
			case k == created && sameTime(a.config[k], b.config[k]):
			default:
				out = appendDifference(out, k, a.config[k], b.config[k])
			}
		}
	}
	if a.bare || b.bare {
		return out
	}
	for _, k := range keysOf(a.annotations, b.annotations) {
		if k != annotationCreated || !ignoreTimes {
			out = appendDifference(out, "annotations."+k, a.annotations[k], b.annotations[k])
		}
	}
	return out
}

// sameTime says whether two values are one time; a daemon spells it its own way.
func sameTime(a, b any) bool {
	x, _ := a.(string)
	y, _ := b.(string)
	s, err := time.Parse(time.RFC3339Nano, x)
	t, err2 := time.Parse(time.RFC3339Nano, y)
	return err == nil && err2 == nil && s.Equal(t)
}

// containerDifferences are those of what a container is started with: one for each
// variable, label, port and volume.
func containerDifferences(a, b map[string]any) (out []Difference) {
	for _, k := range keysOf(a, b) {
		x, y := a[k], b[k]
		field := "config." + k
		if k == "Env" {
			inside := appendObject(nil, field, variables(x), variables(y))
			if len(inside) == 0 { // only their order may differ
				inside = appendDifference(nil, field, x, y)
			}
			out = append(out, inside...)
			continue
		}
		if object(x) != nil || object(y) != nil {
			out = appendObject(out, field, object(x), object(y))
			continue
		}
		out = appendDifference(out, field, x, y)
	}
	return out
}

func appendObject(out []Difference, field string, a, b map[string]any) []Difference {
	for _, k := range keysOf(a, b) {
		x, inA := a[k]
		y, inB := b[k]
		if inA != inB && isEmpty(x) && isEmpty(y) { // a port, or a variable without value: its name counts
			x, y = presence(inA), presence(inB)
		}
		out = appendDifference(out, field+"."+k, x, y)
	}
	return out
}

// presence is the value of a name that has none.
func presence(is bool) any {
	if is {
		return true
	}
	return nil
}

// variables are an environment by names.
func variables(env any) map[string]any {
	list, _ := env.([]any)
	out := map[string]any{}
	for _, v := range list {
		s, _ := v.(string)
		name, value, _ := strings.Cut(s, "=")
		out[name] = value
	}
	return out
}

func appendDifference(out []Difference, field string, a, b any) []Difference {
	if isEmpty(a) {
		a = nil
	}
	if isEmpty(b) {
		b = nil
	}
	if reflect.DeepEqual(a, b) {
		return out
	}
	return append(out, Difference{field, a, b})
}

// isEmpty says whether a value means the same as none: builders differ in what
// they leave out.
func isEmpty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return reflect.ValueOf(v).IsZero()
}

func object(v any) map[string]any {
	o, _ := v.(map[string]any)
	return o
}

func keysOf[V any](a, b map[string]V) []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(all)
	return slices.Compact(all)
}

// historyDifference compares the histories; nil where they do not differ, or are
// not known.
func historyDifference(a, b *Image, ignoreTimes bool) *History {
	if a.bare || b.bare {
		return nil
	}
	out := &History{A: len(a.history), B: len(b.history)}
	for n := range max(out.A, out.B) {
		var x, y map[string]any
		if n < out.A {
			x = entry(a.history[n], ignoreTimes)
		}
		if n < out.B {
			y = entry(b.history[n], ignoreTimes)
		}
		d := Difference{Field: fmt.Sprintf("history[%d]", n)}
		if x != nil {
			d.A = x
		}
		if y != nil {
			d.B = y
		}
		if !reflect.DeepEqual(d.A, d.B) {
			if out.Entries == nil {
				out.First = n
			}
			out.Entries = append(out.Entries, d)
		}
	}
	if out.Entries == nil {
		return nil
	}
	return out
}

func entry(e map[string]any, ignoreTimes bool) map[string]any {
	if e == nil {
		e = map[string]any{}
	}
	e = maps.Clone(e)
	if ignoreTimes {
		delete(e, created)
	}
	maps.DeleteFunc(e, func(_ string, v any) bool { return isEmpty(v) })
	return e
}
