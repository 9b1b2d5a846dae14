package filter

import (
	"bytes"
	"slices"
	"strings"
)

// A secretRule knows secrets of one form. Most people who put one into an image
// did not mean to; so a rule must not cry at what only looks like one: programs
// that handle keys are full of their headers, documentation of examples.
type secretRule struct {
	what string
	// literals are what it starts with, one of them; at least literalSize bytes.
	literals []string
	// form is all of it, from the literal on. Its first group, or what comes
	// behind the literal, is the part that has to look like chance.
	form string
	// inWord: it may begin within a word.
	inWord bool
	// notIn are beginnings of names of files that are known to have such for
	// their own tests: GnuTLS, and so every Debian, for its self-test.
	notIn []string
}

// secretWindow is how much of a secret, from its literal on, a form gets to see.
const secretWindow = 1 << 10

// pemGap is what may stand between the lines of a key: ends of lines, also as
// escapes in JSON or source code, with quotes, commas and signs around them.
const pemGap = `(?:[\s"'` + "`" + `+,]|\\+[nr])*`

// secretForms are all that are known. They are compiled where somebody looks for
// secrets.
var secretForms = []secretRule{
	{
		what: "a private key", literals: []string{"-----BEGIN "}, inWord: true, notIn: []string{"libgnutls.so."},
		form: `^-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----` + pemGap +
			`(?:(?:Proc-Type|DEK-Info|Version|Comment|Hash|Charset): ?[^\n\\]{1,120}` + pemGap + `){0,4}([A-Za-z0-9+/]{40})`,
	},
	{
		what: "a PuTTY private key", literals: []string{"PuTTY-User-Key-File-"},
		form: `^PuTTY-User-Key-File-[0-9]: [a-z0-9@.-]+\r?\nEncryption: \w+\r?\nComment: [^\n]{0,200}\nPublic-Lines: [0-9]+\r?\n([A-Za-z0-9+/]{40})`,
	},
	{
		what: "an AWS access key ID", literals: []string{"AKIA", "ASIA"},
		form: `^A[KS]IA[A-Z2-7]{16}(?:[^A-Za-z0-9_+/=-]|$)`,
	},
	{
		what: "an AWS secret access key", literals: []string{"aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", "SecretAccessKey", "secretAccessKey"}, inWord: true,
		form: `^(?:aws_secret_access_key|AWS_SECRET_ACCESS_KEY|[Ss]ecretAccessKey)\\?["']?\s{0,8}(?:=>|[=:])\s{0,8}\\?["']?([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$)`,
	},
	{
		what: "a Google API key", literals: []string{"AIza"},
		form: `^AIza[A-Za-z0-9_-]{35}(?:[^A-Za-z0-9_-]|$)`,
	},
	{
		what: "a Google OAuth client secret", literals: []string{"GOCSPX-"},
		form: `^GOCSPX-[A-Za-z0-9_-]{28}(?:[^A-Za-z0-9_-]|$)`,
	},
	{
		what: "an Azure storage account key", literals: []string{"AccountKey="},
		form: `^AccountKey=[A-Za-z0-9+/]{86}==`,
	},
	{
		what: "an Azure shared access key", literals: []string{"SharedAccessKey="},
		form: `^SharedAccessKey=[A-Za-z0-9+/]{43}=`,
	},
	{
		what: "an Azure client secret", literals: []string{"7Q~", "8Q~"}, inWord: true,
		form: `^[78]Q~[A-Za-z0-9_.~-]{31,34}(?:[^A-Za-z0-9_.~-]|$)`,
	},
	{
		what: "a GitHub token", literals: []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_"},
		form: `^gh[pousr]_[A-Za-z0-9]{36,251}(?:[^A-Za-z0-9_]|$)`,
	},
	{
		what: "a GitHub token", literals: []string{"github_pat_"},
		form: `^github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}(?:[^A-Za-z0-9_]|$)`,
	},
	{
		what: "a GitLab token", literals: []string{"glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "glsoat-", "glagent-"},
		form: `^gl[a-z]{2,5}-[A-Za-z0-9_=-]{20,300}`,
	},
	{
		what: "a Slack token", literals: []string{"xoxa-", "xoxb-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-"},
		form: `^xox[abeoprs]-(?:[0-9]{1,20}-){1,3}([A-Za-z0-9-]{20,200})`,
	},
	{
		what: "a Slack token", literals: []string{"xapp-"},
		form: `^xapp-[0-9]-[A-Z0-9]{8,20}-[0-9]{8,20}-([a-z0-9]{32,80})`,
	},
	{
		what: "a Slack webhook", literals: []string{"hooks.slack.com/services/"},
		form: `^hooks\.slack\.com/services/T[A-Z0-9]{7,14}/B[A-Z0-9]{7,14}/([A-Za-z0-9]{20,30})`,
	},
	{
		what: "an npm token", literals: []string{"npm_"},
		form: `^npm_[A-Za-z0-9]{36}(?:[^A-Za-z0-9_]|$)`,
	},
	{
		what: "a PyPI token", literals: []string{"pypi-AgE"},
		form: `^pypi-AgE(?:IcHlwaS5vcmc|NdGVzdC5weXBpLm9yZ)[A-Za-z0-9_-]{50,300}`,
	},
}

// matches says whether a secret begins at the i-th byte of b with this literal.
func (l *secretLiteral) matches(b []byte, i int) bool {
	if !bytes.HasPrefix(b[i:], l.text) || !l.rule.inWord && i > 0 && isWord(b[i-1]) {
		return false
	}
	window := b[i:min(len(b), i+secretWindow)]
	at := l.form.FindSubmatchIndex(window)
	if at == nil {
		return false
	}
	part := window[len(l.text):at[1]]
	if len(at) > 2 {
		part = window[at[2]:at[3]]
	}
	return looksRandom(part)
}

// knownIn says whether a file of that name has such secrets of its own.
func (r *secretRule) knownIn(base string) bool {
	return slices.ContainsFunc(r.notIn, func(s string) bool { return strings.HasPrefix(base, s) })
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// placeholders are in what people write where a secret would stand.
var placeholders = []string{"example", "1234567890", "0123456789", "abcdefgh", "xxxxxx", "placeholder", "your-", "your_"}

// fewest is how many different characters a secret has at least. Of 16 letters
// of base32, the shortest here, 1 in 100,000 has fewer.
const fewest = 7

// looksRandom tells a secret from what stands for one in documentation and
// tests, and from words.
func looksRandom(s []byte) bool {
	lower := strings.ToLower(string(s))
	for _, p := range placeholders {
		if strings.Contains(lower, p) {
			return false
		}
	}
	var seen [256]bool
	different := 0
	for _, c := range s {
		if !seen[c] {
			seen[c] = true
			different++
		}
	}
	return different >= fewest && bytes.ContainsAny(s, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")
}
