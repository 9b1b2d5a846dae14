package filter

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestPatternsFollowFnmatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{"etc/motd", []string{"etc/motd"}, []string{"etc/motd2", "x/etc/motd", "etc/Motd", ""}},
		{"*", []string{"", "a", "a/b", ".hidden", "a\nb", "\xff"}, nil},
		{"*.pyc", []string{".pyc", "a/b.pyc", "a.pyc.pyc"}, []string{"a.pyc/b", "pyc"}},
		{"etc/*", []string{"etc/", "etc/a/b"}, []string{"etc", "xetc/a"}},
		{"a?c", []string{"abc", "a/c", "aéc", "a\xffc"}, []string{"ac", "abbc", "a\xff\xffc"}},
		{"[abc]x", []string{"ax", "cx"}, []string{"dx", "x"}},
		{"[!abc]x", []string{"dx", "/x", "éx"}, []string{"ax", "x"}},
		{"[a-c-e]", []string{"a", "b", "c", "-", "e"}, []string{"d"}},
		{"[c-a]", nil, []string{"a", "b", "c", "-", ""}},
		{"[!c-a]", []string{"a", "-"}, []string{""}},
		{"[]-a]", []string{"]", "^", "a"}, []string{"-", "b"}},
		{"[!]]", []string{"a"}, []string{"]"}},
		{"[a", []string{"[a"}, []string{"a"}},
		{"[]", []string{"[]"}, []string{"]"}},
		{"[!]", []string{"[!]"}, []string{"a"}},
		{"[^a]", []string{"^", "a"}, []string{"b"}},
		{`\*`, []string{`\`, `\x`}, []string{"*"}},
		{"**/.git", []string{".git", "a/.git", "a/b/.git"}, []string{"x.git", "a/x.git", ".git/a"}},
		{"**/.git/**", []string{".git/config", "a/.git/x/y", ".git/"}, []string{".git", "a.git/config"}},
		{"a/**/b", []string{"a/b", "a/x/b", "a/x/y/b"}, []string{"ab", "a/xb", "xa/b"}},
		{"a/**/**/b", []string{"a/b", "a/x/b"}, []string{"a/xb"}},
		{"a**/b", []string{"a/b", "ax/b", "ax/y/b"}, []string{"ab"}},
		{"***/b", []string{"/b", "a/b"}, []string{"b"}},
		{"**/", []string{"", "a/"}, []string{"a"}},
		{"**/a/**/b/**/c", []string{"a/b/c", "x/a/a/b/a/b/c"}, []string{"a/c", "a/b/xc", "xa/b/c"}},
		{"**/*.go", []string{"a.go", "x/a.go"}, []string{"a.go/x"}},
		{"*\xa9", []string{"\xa9", "x\xa9"}, []string{"é"}},
		{"*é", []string{"é"}, []string{"\xa9"}},
	} {
		g := compileGlob(c.pattern)
		for _, name := range c.yes {
			if ok, _ := g.match(name); !ok {
				t.Errorf("%q does not match %q", c.pattern, name)
			}
		}
		for _, name := range c.no {
			if ok, _ := g.match(name); ok {
				t.Errorf("%q matches %q", c.pattern, name)
			}
		}
	}
}

// slowly matches by way of a regular expression that is written as Python's
// fnmatch.translate does, with "**/" as an optional directory.
func slowly(t testing.TB, pattern, name string) bool {
	t.Helper()
	re, err := regexp.Compile(`(?s)\A(?:` + translate(runes(pattern)) + `)\z`)
	if err != nil {
		t.Fatalf("pattern %q: %v", pattern, err)
	}
	return re.MatchString(string(runes(name)))
}

// runes are the characters of s as code points that a string can hold: bytes
// that are no UTF-8 become private ones.
func runes(s string) []rune {
	var out []rune
	for s != "" {
		r, n := char(s)
		if isStray(r) {
			r += 0xe000 - strayByte
		}
		out, s = append(out, r), s[n:]
	}
	return out
}

func translate(p []rune) string {
	var re strings.Builder
	slash := true
	for i := 0; i < len(p); {
		c := p[i]
		i++
		after := slash
		slash = c == '/'
		switch c {
		case '*':
			n := 1
			for ; i < len(p) && p[i] == '*'; i++ {
				n++
			}
			if n == 2 && after && i < len(p) && p[i] == '/' {
				re.WriteString("(?:.*/)?")
				i++
				slash = true
				continue
			}
			re.WriteString(".*")
		case '?':
			re.WriteString(".")
		case '[':
			set, n := translateSet(p[i:])
			re.WriteString(set)
			i += n
		default:
			re.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	return re.String()
}

// translateSet does what CPython 3.11 does, step by step.
func translateSet(p []rune) (re string, n int) {
	j := 0
	if j < len(p) && p[j] == '!' {
		j++
	}
	if j < len(p) && p[j] == ']' {
		j++
	}
	for j < len(p) && p[j] != ']' {
		j++
	}
	if j >= len(p) {
		return `\[`, 0
	}
	var parts []string
	for _, c := range chunks(p[:j]) {
		quoted := regexp.QuoteMeta(string(c))
		parts = append(parts, strings.ReplaceAll(quoted, "-", `\-`))
	}
	switch in := strings.Join(parts, "-"); {
	case in == "":
		return `[^\x00-\x{10FFFF}]`, j + 1
	case in == "!":
		return ".", j + 1
	case in[0] == '!':
		return "[^" + in[1:] + "]", j + 1
	default:
		return "[" + in + "]", j + 1
	}
}

// chunks cuts the inside of a set at the hyphens that make ranges, and takes
// out ranges in the wrong order.
func chunks(p []rune) [][]rune {
	var out [][]rune
	i, k := 0, 1
	if p[0] == '!' {
		k = 2
	}
	for {
		at := -1
		if k < len(p) {
			at = slices.Index(p[k:], '-')
		}
		if at < 0 {
			break
		}
		k += at
		out = append(out, slices.Clone(p[i:k]))
		i = k + 1
		k += 3
	}
	if i < len(p) || len(out) == 0 {
		out = append(out, slices.Clone(p[i:]))
	} else {
		out[len(out)-1] = append(out[len(out)-1], '-')
	}
	for k := len(out) - 1; k > 0; k-- {
		if a, b := out[k-1], out[k]; a[len(a)-1] > b[0] {
			out[k-1] = append(a[:len(a)-1], b[1:]...)
			out = slices.Delete(out, k, k+1)
		}
	}
	return out
}

func TestPatternsAgreeWithASlowReference(t *testing.T) {
	t.Parallel()
	const letters = "aab/-.]![?**[é\xff"
	r := rand.New(rand.NewPCG(1, 2))
	word := func(n int) string {
		b := make([]byte, r.IntN(n))
		for i := range b {
			b[i] = letters[r.IntN(len(letters))]
		}
		return string(b)
	}
	matched := 0
	for range 50_000 {
		pattern, name := word(9), word(7)
		if r.IntN(3) == 0 {
			pattern = "**/" + pattern
		}
		ok, _ := compileGlob(pattern).match(name)
		if ok != slowly(t, pattern, name) {
			t.Fatalf("pattern %q, name %q: match=%t", pattern, name, ok)
		}
		if ok {
			matched++
		}
	}
	if matched < 1000 {
		t.Errorf("only %d names matched: the test says little", matched)
	}
}

func FuzzPatternsAgreeWithASlowReference(f *testing.F) {
	f.Add("**/.git/**", "a/.git/config")
	f.Add("[!a-c]?*/x", "d/e/x")
	f.Add("[--0]**/[]x-]", "-/]")
	f.Add("a/**/b*c", "a/b\xffc")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 100 || strings.ContainsFunc(pattern+name, func(r rune) bool { return r >= 0xd000 && r < 0xf000 }) {
			t.Skip("the reference has no code points for this")
		}
		ok, steps := compileGlob(pattern).match(name)
		if want := slowly(t, pattern, name); ok != want {
			t.Fatalf("pattern %q, name %q: match=%t", pattern, name, ok)
		}
		if limit := bound(pattern, name); steps > limit {
			t.Fatalf("pattern %q, name %q: %d steps, more than %d", pattern, name, steps, limit)
		}
	})
}

// bound is what a name may cost: its length times the pattern's.
func bound(pattern, name string) int { return (len(name) + 2) * (len(pattern) + 2) }

func TestHostilePatternsAndNamesTakeBoundedSteps(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{
		{strings.Repeat("*a", 50) + "b", strings.Repeat("a", 10_000)},
		{strings.Repeat("*a", 50) + "b*", strings.Repeat("a", 10_000)},
		{strings.Repeat("*?", 50) + "b", strings.Repeat("a", 10_000) + "c"},
		{strings.Repeat("**/", 50) + "b", strings.Repeat("a/", 5_000)},
		{strings.Repeat("**/a/", 50) + "b*", strings.Repeat("a/", 5_000)},
		{"*" + strings.Repeat("[ab]", 50) + "c*", strings.Repeat("a", 10_000)},
		{strings.Repeat("*", 10_000) + "b", strings.Repeat("a", 10_000)},
		{strings.Repeat("[", 1_000) + "*x", strings.Repeat("[", 10_000)},
		{"*" + strings.Repeat("a", 500) + "b*", strings.Repeat("a", 10_000)},
	} {
		_, steps := compileGlob(c[0]).match(c[1])
		if limit := bound(c[0], c[1]); steps > limit {
			t.Errorf("pattern of %d bytes, name of %d: %d steps, more than %d", len(c[0]), len(c[1]), steps, limit)
		}
	}
}

func BenchmarkManyPatterns(b *testing.B) {
	var ps []string
	for _, p := range []string{"**/.git/**", "**/__pycache__/**", "**/*.pyc", "usr/share/doc/**", "usr/share/man/**", "**/*.o", "var/cache/apt/**", "etc/motd"} {
		ps = append(ps, p, p+".orig", "opt/"+p)
	}
	g := newGlobs(ps)
	const name = "usr/lib/python3/dist-packages/some/package/with/a/module.py"
	b.ReportAllocs()
	b.SetBytes(int64(len(name)))
	for b.Loop() {
		if g.match(name) {
			b.Fatal("matches")
		}
	}
}

// For those who choose paths, a directory stands for all that it holds.
func TestMatcherTakesWhatADirectoryHolds(t *testing.T) {
	t.Parallel()
	matches := Matcher([]string{"etc", "./usr/*.so", ""})
	for path, want := range map[string]bool{"etc": true, "etc/x/y": true, "etcetera": false, "usr/lib/a.so": true, "usr/lib": false, "": false} {
		if matches(path) != want {
			t.Errorf("%q: %v", path, !want)
		}
	}
}
