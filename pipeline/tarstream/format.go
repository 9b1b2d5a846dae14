package tarstream

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// formatTime writes a PAX time: seconds with a fraction if there is one.
func formatTime(t time.Time) string {
	seconds, nanos := t.Unix(), t.Nanosecond()
	if nanos == 0 {
		return strconv.FormatInt(seconds, 10)
	}
	sign := ""
	if seconds < 0 {
		sign = "-"
		seconds = -(seconds + 1)
		nanos = 1e9 - nanos
	}
	return strings.TrimRight(fmt.Sprintf("%s%d.%09d", sign, seconds, nanos), "0")
}

// put fills a field with a string and NULs.
func put(b []byte, f span, s string) {
	field := f.of(b)
	clear(field[copy(field, s):])
}

// putOctal fills a field with zero-padded digits and a NUL, which v must fit.
func putOctal(b []byte, f span, v int64) {
	field := f.of(b)
	field[f.n-1] = 0
	for i := f.n - 2; i >= 0; i-- {
		field[i] = '0' + byte(v&7)
		v >>= 3
	}
}

// putBase256 fills a field with GNU's binary form, which v must fit.
func putBase256(b []byte, f span, v int64) {
	field := f.of(b)
	for i := len(field) - 1; i >= 0; i-- {
		field[i] = byte(v)
		v >>= 8
	}
	field[0] |= 0x80
}

// split divides a name at a slash into a prefix of at most n bytes and a base
// that fits the name field.
func split(name string, n int) (dir, base string, ok bool) {
	if n == 0 || len(name) > n+1+fName.n {
		return "", "", false
	}
	for i := 1; i < len(name)-1; i++ {
		if name[i] == '/' && i <= n && len(name)-i-1 <= fName.n {
			return name[:i], name[i+1:], true
		}
	}
	return "", "", false
}

// plain says whether a string may stand in a header field, which is ASCII.
func plain(s string) bool {
	for _, c := range []byte(s) {
		if c >= 0x80 || c == 0 {
			return false
		}
	}
	return true
}

// ascii drops what may not stand in a header field.
func ascii(s string) string {
	if plain(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r < 0x80 && r != 0 {
			return r
		}
		return -1
	}, s)
}
