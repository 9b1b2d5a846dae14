package check

import (
	"fmt"
	"strings"
	"unicode"
)

func sprintf(format string, args ...any) string { return fmt.Sprintf(format, args...) }

// quoteText makes a message that strangers had a hand in one line.
func quoteText(s string) string {
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
