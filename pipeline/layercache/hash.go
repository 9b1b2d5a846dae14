package layercache

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/occystrap/occystrap/pipeline"
)

// filtersHash identifies filters and compression as the Python tool does: "none",
// or 16 digits of the SHA-256 of json.dumps({"compression": …, "filters": […]},
// sort_keys=True, separators=(",", ":")).
func filtersHash(compression string, filters []string) string {
	const digits = 16
	if len(filters) == 0 && compression == string(pipeline.Gzip) {
		return "none"
	}
	var b strings.Builder
	b.WriteString(`{"compression":` + pythonString(compression) + `,"filters":[`)
	for i, f := range filters {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(pythonString(f))
	}
	b.WriteString("]}")
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:])[:digits]
}

// pythonString is a string as Python's json.dumps writes it, in ASCII. A byte of
// the command line that is no UTF-8 is a lone surrogate there (PEP 383).
func pythonString(s string) string {
	short := map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}
	var b strings.Builder
	b.WriteByte('"')
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch text, ok := short[r]; {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\udc%02x`, s[0])
		case ok:
			b.WriteString(text)
		case r >= ' ' && r <= '~':
			b.WriteRune(r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		s = s[n:]
	}
	return b.String() + `"`
}
