package filter

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// inspectConfig is what inspect takes from an image's config.
type inspectConfig struct {
	platform string
	layers   int
	history  []inspectHistory // of the layers, the lowest first
}

// inspectHistory is what the history says of a layer. What it leaves out, or
// says in an odd way, is empty.
type inspectHistory struct {
	comment, createdBy string
	created            int64 // seconds since 1970
}

func readInspectConfig(raw []byte) (inspectConfig, error) {
	var c struct {
		ocispec.Platform
		RootFS struct {
			DiffIDs []digest.Digest `json:"diff_ids"`
		} `json:"rootfs"`
		History json.RawMessage `json:"history"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return inspectConfig{}, err
	}
	p := strings.Trim(strings.Join([]string{c.OS, c.Architecture, c.Variant}, "/"), "/")
	out := inspectConfig{platform: p, layers: len(c.RootFS.DiffIDs)}
	for _, e := range entriesOf(c.History) {
		if string(e["empty_layer"]) == "true" {
			continue
		}
		out.history = append(out.history, inspectHistory{
			comment: textOf(e["comment"]), createdBy: textOf(e["created_by"]), created: secondsOf(e["created"]),
		})
	}
	return out, nil
}

// entriesOf reads a history. Nothing needs one, so a broken one is none.
func entriesOf(raw json.RawMessage) (entries []map[string]json.RawMessage) {
	_ = json.Unmarshal(raw, &entries)
	return entries
}

func textOf(raw json.RawMessage) (s string) {
	_ = json.Unmarshal(raw, &s) // what is no string is as good as none
	return s
}

// secondsOf reads a time as the original does: ISO 8601, or a number.
func secondsOf(raw json.RawMessage) int64 {
	var number float64
	if json.Unmarshal(raw, &number) == nil {
		return int64(number)
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999"} {
		if t, err := time.Parse(layout, textOf(raw)); err == nil {
			return t.Unix()
		}
	}
	return 0
}

// inspectRecord is the line of one image.
type inspectRecord struct {
	names    []string
	platform string         // "" where the run has one image
	layers   []inspectLayer // the lowest first
}

type inspectLayer struct {
	id      digest.Digest
	size    int64
	history inspectHistory
}

// line is the record as the original writes it, byte for byte: keys in their
// order, a blank behind each colon and comma, nothing but ASCII. The newest
// layer comes first, and it alone has tags.
func (r inspectRecord) line() string {
	tags := make([]string, len(r.names))
	for i, n := range r.names {
		tags[i] = pythonString(n)
	}
	layers := make([]string, len(r.layers))
	for i, l := range r.layers {
		tag := "null"
		if i == len(r.layers)-1 {
			tag = "[" + strings.Join(tags, ", ") + "]"
		}
		layers[len(layers)-1-i] = fmt.Sprintf(`{"Comment": %s, "Created": %d, "CreatedBy": %s, "Id": %s, "Size": %d, "Tags": %s}`,
			pythonString(l.history.comment), l.history.created, pythonString(l.history.createdBy), pythonString(l.id.String()), l.size, tag)
	}
	out := `{"layers": [` + strings.Join(layers, ", ") + `], "name": ` + tags[0]
	if r.platform != "" {
		out += `, "platform": ` + pythonString(r.platform)
	}
	return out + "}\n"
}

// escapes are the characters that have a short form in JSON.
var escapes = map[rune]byte{'"': '"', '\\': '\\', '\n': 'n', '\r': 'r', '\t': 't', '\b': 'b', '\f': 'f'}

// pythonString is a JSON string as Python's json.dumps writes it.
func pythonString(s string) string {
	b := []byte{'"'}
	for _, r := range s {
		if short, ok := escapes[r]; ok {
			b = append(b, '\\', short)
		} else if r >= ' ' && r <= '~' {
			b = append(b, byte(r))
		} else {
			for _, u := range utf16.Encode([]rune{r}) {
				b = fmt.Appendf(b, `\u%04x`, u)
			}
		}
	}
	return string(append(b, '"'))
}
