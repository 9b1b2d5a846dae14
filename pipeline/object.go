package pipeline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// An Object is a JSON object that is edited in place: keys that are not set
// keep their bytes, their order and their white space.
type Object struct {
	raw     []byte
	members []member
	changed bool
}

type member struct {
	key        string
	value      json.RawMessage
	start, end int // of the value in raw; both 0 for a new member
}

// ParseObject reads one JSON object. Keys that are equal but for their case, or
// are a name of the specifications but for its case, are an error: of two
// programs one would read it and the other not.
func ParseObject(raw []byte) (*Object, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("not a JSON object")
	}
	o := &Object{raw: raw}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, ok := t.(string)
		folded := fold(key)
		if !ok || seen[folded] {
			return nil, fmt.Errorf("JSON key %q stands twice", key)
		}
		if known := knownKeys[folded]; known != "" && known != key {
			return nil, fmt.Errorf("JSON key %q could be taken for %q", key, known)
		}
		seen[folded] = true
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, err
		}
		end := int(d.InputOffset())
		o.members = append(o.members, member{key, v, end - len(v), end})
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if rest := bytes.TrimSpace(raw[d.InputOffset():]); len(rest) > 0 {
		return nil, fmt.Errorf("text after the JSON object")
	}
	return o, nil
}

// knownKeys are the names that the image specification, and the engine, look
// for, by their folded form.
var knownKeys = func() map[string]string {
	known := map[string]string{}
	for _, k := range []string{
		"schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "fsLayers", "annotations",
		"digest", "size", "urls", "data", "platform", "architecture", "os", "variant", "rootfs", "diff_ids", "history", "created", "empty_layer",
	} {
		known[fold(k)] = k
	}
	return known
}()

// fold is equal for keys that encoding/json takes for one another: those with
// the same letters by Unicode's simple folding.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, s)
}

// Get returns a member's value; nil when there is none.
func (o *Object) Get(key string) json.RawMessage {
	if i := o.index(key); i >= 0 {
		return o.members[i].value
	}
	return nil
}

// Set replaces or adds a member. Equal bytes are no change.
func (o *Object) Set(key string, v any) error {
	value, err := marshal(v)
	if err != nil {
		return err
	}
	i := o.index(key)
	switch {
	case i < 0:
		o.members = append(o.members, member{key: key, value: value})
	case bytes.Equal(o.members[i].value, value):
		return nil
	default:
		o.members[i].value = value
	}
	o.changed = true
	return nil
}

// Delete removes a member, if it is there.
func (o *Object) Delete(key string) {
	if i := o.index(key); i >= 0 {
		o.members = slices.Delete(o.members, i, i+1)
		o.changed = true
		o.raw = nil // commas move: written anew
	}
}

// Bytes is the object with its edits; without any, the bytes it came from.
func (o *Object) Bytes() []byte {
	if !o.changed {
		return o.raw
	}
	if o.raw == nil || slices.ContainsFunc(o.members, func(m member) bool { return m.end == 0 }) {
		return o.compose()
	}
	var out []byte
	at := 0
	for _, m := range o.members {
		out = append(append(out, o.raw[at:m.start]...), m.value...)
		at = m.end
	}
	return append(out, o.raw[at:]...)
}

// MarshalJSON makes an Object a value for Set.
func (o *Object) MarshalJSON() ([]byte, error) { return o.Bytes(), nil }

func (o *Object) compose() []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o.members {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := marshal(m.key)
		if err != nil { // a string always marshals
			panic(err)
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(m.value)
	}
	b.WriteByte('}')
	return b.Bytes()
}

func (o *Object) index(key string) int {
	return slices.IndexFunc(o.members, func(m member) bool { return m.key == key })
}

// marshal is json.Marshal without escaping <, > and &, which config commands
// are full of.
func marshal(v any) ([]byte, error) {
	switch v := v.(type) {
	case json.RawMessage:
		return v, nil
	case *Object:
		return v.Bytes(), nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// EditJSON edits a JSON object, keeping what edit does not touch.
func EditJSON(raw []byte, edit func(*Object) error) ([]byte, error) {
	o, err := ParseObject(raw)
	if err != nil {
		return nil, err
	}
	if err := edit(o); err != nil {
		return nil, err
	}
	return o.Bytes(), nil
}

// objects reads an array of objects.
func objects(raw json.RawMessage) ([]*Object, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, err
	}
	out := make([]*Object, len(items))
	for i, item := range items {
		o, err := ParseObject(item)
		if err != nil {
			return nil, err
		}
		out[i] = o
	}
	return out, nil
}

// setObjects writes an array back if one of its objects changed or left.
func (o *Object) setObjects(key string, was int, items []*Object) error {
	if len(items) == was && !slices.ContainsFunc(items, func(i *Object) bool { return i.changed }) {
		return nil
	}
	if items == nil {
		items = []*Object{}
	}
	raws := make([]json.RawMessage, len(items))
	for i, item := range items {
		raws[i] = item.Bytes()
	}
	return o.Set(key, raws)
}
