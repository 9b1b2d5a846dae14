package pipeline

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// ParseLocation reads a URI: scheme://[user[:password]@][host]/path[?options],
// or the short form scheme:path. The path is percent-decoded once; an unescaped
// '#' ends it.
func ParseLocation(uri string) (Location, error) {
	var loc Location
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok {
		scheme, rest, ok = strings.Cut(uri, ":")
	}
	if !ok || !validScheme(scheme) {
		return loc, Usage("Missing scheme in URI: %s (write registry://%[1]s, tar://%[1]s or docker://%[1]s)", redact(uri))
	}
	loc.Scheme = strings.ToLower(scheme)
	rest, _, _ = strings.Cut(rest, "#")
	rest, query, _ := strings.Cut(rest, "?")
	loc.Query = parseQuery(query)
	authority, path, hasPath := strings.Cut(rest, "/")
	if hasPath {
		path = "/" + path
	}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 && !strings.HasPrefix(authority[i+1:], "sha256:") && !strings.HasPrefix(authority[i+1:], "sha512:") {
		loc.User = userinfo(authority[:i])
		authority = authority[i+1:]
	}
	loc.Host, loc.Path = unescape(authority), unescape(path)
	return loc, nil
}

func validScheme(s string) bool {
	for i, c := range []byte(strings.ToLower(s)) {
		letter := 'a' <= c && c <= 'z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", rune(c))) {
			return false
		}
	}
	return s != ""
}

func userinfo(s string) *url.Userinfo {
	name, password, ok := strings.Cut(s, ":")
	if !ok {
		return url.User(unescape(name))
	}
	return url.UserPassword(unescape(name), unescape(password))
}

// unescape decodes %XX once; a lone % stays, as people write file names by hand.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(v))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func parseQuery(q string) map[string]string {
	out := map[string]string{}
	for part := range strings.SplitSeq(q, "&") {
		key, value, _ := strings.Cut(part, "=")
		key = unescape(strings.ReplaceAll(key, "+", " "))
		value = unescape(strings.ReplaceAll(value, "+", " "))
		if key == "" || value == "" {
			continue
		}
		out[key] = value
	}
	return out
}

// Recompress reads RecompressOption.
func (l Location) Recompress() (Recompress, error) {
	return ParseRecompress(l.Query[RecompressOption.Name])
}

// FilePath is the path of a file scheme: authority and path are one name, and
// the authority "localhost" stands for none. Empty is a usage error.
func (l Location) FilePath() (string, error) {
	p := l.Host + l.Path
	if l.User != nil {
		p = l.User.String() + "@" + p
	}
	if l.Host == "localhost" && l.User == nil && l.Path != "" {
		p = l.Path
	}
	if p == "" {
		return "", Usage("%s:// URI requires a path", l.Scheme)
	}
	return p, nil
}

// Bool reads an on/off option: true, yes, 1 or false, no, 0 in any case.
func (l Location) Bool(key string) (value, ok bool, err error) {
	s, ok := l.Query[key]
	if !ok {
		return false, false, nil
	}
	switch strings.ToLower(s) {
	case "true", "yes", "1":
		return true, true, nil
	case "false", "no", "0":
		return false, true, nil
	}
	return false, true, Usage("%s:// option %s is %q; it takes true or false", l.Scheme, key, s)
}

// Int reads a whole number. "true" counts as 1, as it always has.
func (l Location) Int(key string) (value int, ok bool, err error) {
	s, ok := l.Query[key]
	if !ok {
		return 0, false, nil
	}
	if strings.EqualFold(s, "true") || strings.EqualFold(s, "yes") {
		return 1, true, nil
	}
	v, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil {
		return 0, true, Usage("%s:// option %s is %q; it takes a whole number", l.Scheme, key, s)
	}
	return v, true, nil
}

// secretOptions are query options whose values are never shown.
var secretOptions = []string{"password", "token", "creds"}

// String is the location as it may be shown: passwords are replaced by ***. What
// ParseLocation would read otherwise is percent-encoded.
func (l Location) String() string {
	var b strings.Builder
	b.WriteString(l.Scheme + "://")
	if l.User != nil {
		b.WriteString(l.User.Username())
		if _, has := l.User.Password(); has {
			b.WriteString(":***")
		}
		b.WriteByte('@')
	}
	b.WriteString(escape(l.Host+l.Path, "?#"))
	sep := byte('?')
	for _, k := range sortedKeys(l.Query) {
		v := l.Query[k]
		for _, s := range secretOptions {
			if k == s {
				v = "***"
			}
		}
		b.WriteByte(sep)
		b.WriteString(k + "=" + escape(v, "&#+"))
		sep = '&'
	}
	return b.String()
}

// escape encodes these characters, and a % that unescape would decode.
func escape(s, these string) string {
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(these, s[i]) >= 0 || s[i] == '%' && unescape(s[i:min(i+3, len(s))]) != s[i:min(i+3, len(s))] {
			fmt.Fprintf(&b, "%%%02X", s[i])
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// redact hides what may be a password in text that did not parse.
func redact(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return "***" + s[i:]
	}
	return s
}
