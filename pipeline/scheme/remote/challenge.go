package remote

import (
	"net/http"
	"strings"
)

// A challenge is one way in which a server asks who is there (RFC 9110, 11.6.1).
type challenge struct {
	scheme string            // in lower case
	params map[string]string // keys in lower case
}

// parseChallenges reads all WWW-Authenticate headers: any case, order and
// spacing, quoted strings with commas, several challenges in one header. What
// cannot be read is passed over.
func parseChallenges(h http.Header) []challenge {
	var out []challenge
	for _, v := range h.Values("WWW-Authenticate") {
		out = append(out, parseChallenge(v)...)
	}
	return out
}

func parseChallenge(s string) []challenge {
	var out []challenge
	for {
		s = strings.TrimLeft(s, " \t,")
		word := token(s)
		if word == "" {
			if s == "" {
				return out
			}
			s = s[1:] // no character that may stand here
			continue
		}
		rest := strings.TrimLeft(s[len(word):], " \t")
		if !strings.HasPrefix(rest, "=") {
			out = append(out, challenge{strings.ToLower(word), map[string]string{}})
			s = s[len(word):]
			continue
		}
		var v string
		v, s = value(strings.TrimLeft(rest[1:], " \t"))
		if key := strings.ToLower(word); len(out) > 0 {
			if params := out[len(out)-1].params; params[key] == "" {
				params[key] = v // of two, the first counts: none can be slipped in after it
			}
		}
	}
}

// token is the token that s begins with (RFC 9110, 5.6.2); "" for none.
func token(s string) string {
	end := strings.IndexFunc(s, func(r rune) bool {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return false
		}
		return !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
	if end < 0 {
		return s
	}
	return s[:end]
}

// value reads a parameter's value and returns what follows it. Without quotes
// it ends at a comma or a space, though a URL is no token.
func value(s string) (v, rest string) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, ", \t")
		if end < 0 {
			end = len(s)
		}
		return s[:end], s[end:]
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:]
		case '\\':
			if i++; i < len(s) {
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), "" // a quote that is never closed
}
