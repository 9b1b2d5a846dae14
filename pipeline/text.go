package pipeline

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// OneLine makes text that a registry or archive may have had a hand in fit for a
// terminal: one line, no control characters.
func OneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, strings.TrimSpace(s))
}

// QuoteName is a name that a stranger has given, on one line: as it is, or, with
// control characters or bytes that are no UTF-8 in it, as a Go string in double
// quotes. One that starts with a quote is quoted too, so that both can be told
// apart.
func QuoteName(s string) string {
	if utf8.ValidString(s) && !strings.HasPrefix(s, `"`) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	return strconv.Quote(s)
}
