package check

import (
	"regexp"
	"strconv"
	"strings"
)

// A secret's name with a value given to it, as NAME=value, --name value or
// "name": "value". The name is told; the value never is.
var named = regexp.MustCompile(`(?i)(?:^|[^a-z0-9$])([a-z0-9_.-]*(?:passwd|password|passphrase|secret|token|api_?key|access_?key|private_?key|credentials?))["']?(?:\s*[=:]\s*|\s+)["']?([^\s"']+)`)

// What a secret looks like, whatever it is called.
var shapes = []struct {
	what string
	re   *regexp.Regexp
}{
	{"a private key", regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY`)},
	{"an AWS access key", regexp.MustCompile(`\b(?:AKIA|ASIA)[0-9A-Z]{16}\b`)},
	{"a GitHub token", regexp.MustCompile(`\b(?:gh[pousr]_[0-9A-Za-z]{36}|github_pat_[0-9A-Za-z_]{40})`)},
	{"a GitLab token", regexp.MustCompile(`\bglpat-[0-9A-Za-z_-]{20}`)},
	{"a Slack token", regexp.MustCompile(`\bxox[abprs]-[0-9A-Za-z-]{10}`)},
	{"a URL with a password", regexp.MustCompile(`[a-z][a-z0-9+.-]*://[^\s/:@"'$]+:[^\s/@"'$]+@`)},
	{"a login in a header", regexp.MustCompile(`(?i)authorization:\s*(?:basic|bearer)\s+[^\s"'$]+`)},
}

// judgeSecrets looks for secrets in the history and in the environment, which
// everyone reads who has the image.
func judgeSecrets(t *teller, c *config) {
	for n, h := range c.History {
		if what := secretIn(h.CreatedBy); what != "" {
			t.bad("history-secret", "entry %d of the history names a secret: %s", n+1, what)
		}
	}
	for _, e := range c.Config.Env {
		if what := secretIn(e); what != "" {
			name, _, _ := strings.Cut(e, "=")
			t.bad("history-secret", "the environment variable %s names a secret: %s", quote(name), what)
		}
	}
}

// secretIn says what secret a text holds, without it; "" for none.
func secretIn(text string) string {
	for _, s := range shapes {
		if s.re.MatchString(text) {
			return s.what
		}
	}
	for _, m := range named.FindAllStringSubmatch(text, -1) {
		if isSecret(m[1], m[2]) {
			return quote(strings.TrimLeft(m[1], "-.")) + "=***"
		}
	}
	return ""
}

// isSecret says whether a value is one: not a variable, a file's name, a command
// substitution, a mount of BuildKit's, a word of a sentence or a switch.
func isSecret(name, value string) bool {
	switch {
	case strings.HasPrefix(value, "$"), strings.HasPrefix(value, "`"), strings.HasPrefix(value, "/"), strings.HasPrefix(value, "-"),
		strings.HasPrefix(value, "#"), strings.HasPrefix(value, "&"), strings.HasPrefix(value, "|"), strings.HasPrefix(value, ">"),
		strings.HasPrefix(value, ","), strings.HasPrefix(value, ")"), strings.HasPrefix(value, "id="):
		return false
	case strings.EqualFold(name, "secret") && strings.HasPrefix(value, ","):
		return false
	}
	switch strings.ToLower(value) {
	case "true", "false", "yes", "no", "none", "null", "and", "or", "the", "is", "in", "to", "for", "from", "file", "then", ";", "\\":
		return false
	}
	if _, err := strconv.ParseBool(value); err == nil {
		return false
	}
	return true
}
