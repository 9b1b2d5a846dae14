package cliplugin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode"
	"unicode/utf8"
)

// writeJSON prints one object for programs, and people who look at it.
func writeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(tame(b.Bytes()))
	return err
}

// compactJSON is a value on one line.
func compactJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return tame(bytes.TrimSpace(b.Bytes())), err
}

// tame escapes those characters of a JSON text that terminals act on and that
// encoding/json leaves as they are: DEL, C1 controls, and what turns text around.
// Outside of strings JSON has none.
func tame(text []byte) []byte {
	isWild := func(r rune) bool { return r >= 0x7f && unicode.In(r, unicode.Cc, unicode.Bidi_Control) }
	var out []byte
	for {
		i := bytes.IndexFunc(text, isWild)
		if i < 0 {
			break
		}
		r, n := utf8.DecodeRune(text[i:])
		out = fmt.Appendf(append(out, text[:i]...), `\u%04x`, r)
		text = text[i+n:]
	}
	if out == nil {
		return text
	}
	return append(out, text...)
}
