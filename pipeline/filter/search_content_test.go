package filter_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/occystrap/occystrap/pipeline/filter"
)

// inside searches one file.
func inside(t *testing.T, pattern string, regex bool, content string) *filter.SearchMatch {
	t.Helper()
	found := look(t, filter.SearchOptions{Pattern: pattern, Regex: regex, Content: true}, tarOf(t, file("f", content)))
	if len(found.layers) == 0 {
		return nil
	}
	return &found.layers[0].Matches[0]
}

func TestContentSearchGivesLinesAndOffsets(t *testing.T) {
	t.Parallel()
	m := inside(t, "needle", false, "hay\nhay needle hay\n\n  needle\r\nneedle")
	if m == nil {
		t.Fatal("nothing found")
	}
	want := []filter.SearchLine{
		{Number: 2, Offset: 8, Text: []byte("hay needle hay")},
		{Number: 4, Offset: 22, Text: []byte("  needle")},
		{Number: 5, Offset: 30, Text: []byte("needle")},
	}
	if diff := cmp.Diff(want, m.Lines); diff != "" || m.Binary || m.More {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestContentSearchLooksIntoRegularFilesOnly(t *testing.T) {
	t.Parallel()
	found := look(t, filter.SearchOptions{Pattern: "needle", Content: true},
		tarOf(t, file("needle", "hay"), file("a", "needle"), link("b", "a"), special('2', "c", "needle")), tarOf(t, file("a", "")))
	found.want(t, "0: a", "1: replaced 0: a")
}

// A match counts wherever the borders of buffers lie, and is one line's.
func TestContentSearchFindsMatchesOverBordersOfBuffers(t *testing.T) {
	t.Parallel()
	const size = 128 << 10 // of the buffer
	for _, at := range []int{size - 6, size - 5, size - 1, size, size + 1, 2*size - 3, size / 2, size/2 - 3} {
		for name, fill := range map[string]string{"one long line": "h", "lines": "hay hay hay hay\n"} {
			hay := strings.Repeat(fill, 3*size/len(fill))
			m := inside(t, "needle", false, hay[:at]+"needle"+hay[at:])
			if m == nil || len(m.Lines) != 1 || m.Lines[0].Offset != int64(at) {
				t.Errorf("%s: a match at %d is told as %+v", name, at, m)
			}
		}
	}
}

func TestContentSearchTellsBinaryFilesAsGrepDoes(t *testing.T) {
	t.Parallel()
	if m := inside(t, "needle", false, "\x7fELF\x00\x01needle\x00needle\n"); m == nil || !m.Binary || len(m.Lines) > 0 {
		t.Errorf("told as %+v", m)
	}
	if m := inside(t, "^needle$", true, strings.Repeat("\x00", 300<<10)+"needle\x00"); m == nil || !m.Binary {
		t.Errorf("what stands between NULs is told as %+v", m)
	}
	if m := inside(t, "needle", false, "caf\xe9 needle\n"); m == nil || m.Binary || len(m.Lines) != 1 {
		t.Errorf("text in Latin-1 is told as %+v", m)
	}
}

func TestContentSearchRemembersLittleOfAFile(t *testing.T) {
	t.Parallel()
	m := inside(t, "needle", false, strings.Repeat("needle\n", 10_000))
	if m == nil || len(m.Lines) != 100 || !m.More {
		t.Errorf("%d lines, more %t", len(m.Lines), m.More)
	}
	m = inside(t, "needle", false, strings.Repeat("h", 10_000)+"needle"+strings.Repeat("h", 10_000))
	if m == nil || len(m.Lines) != 1 || len(m.Lines[0].Text) > 1000 || !m.Lines[0].Cut || !bytes.Contains(m.Lines[0].Text, []byte("needle")) {
		t.Errorf("told as %+v", m)
	}
}

func TestContentSearchRegexIsForOneLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, content, lines string
	}{
		{`^b.*d$`, "abcd\nbcd\nb d\r\nbad", "2 4"},
		{`\Ab\z`, "a\nb\nab\nb", "2 4"},
		{`a[^x]*b`, "a\nb\na-b\nb", "3"}, // no match reaches over a line's end
		{`(?s)a.*b`, "a\nab\nb\naxb\n", "2 4"},
		{`\s`, "a\nb\nc d\n", "3"},
		{`x*`, "a\n\nb", "1 2 3"},
		{`^$`, "a\n\nb\n", "2"},
		{`(?i)NEEDLE`, "hay\nneedle\n", "2"},
	} {
		m := inside(t, c.pattern, true, c.content)
		var got []string
		if m != nil {
			for _, l := range m.Lines {
				got = append(got, fmt.Sprint(l.Number))
			}
		}
		if strings.Join(got, " ") != c.lines {
			t.Errorf("%q matches the lines %v of %q, expected %s", c.pattern, got, c.content, c.lines)
		}
	}
}

// Whatever the text, what is told is what a look at each line by itself finds.
func TestContentSearchAgreesWithASlowReference(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, pattern := range []string{`ab+a`, `^a.*b$`, `a\s*c`, `[^b]{3}c`, `c$`, `(?s)b.c`} {
		var text strings.Builder
		for text.Len() < 300<<10 {
			text.WriteByte("aabbc  \n"[r.IntN(8)])
			if r.IntN(3000) == 0 {
				text.WriteString(strings.Repeat("b", r.IntN(5000)))
			}
		}
		re := regexp.MustCompile(pattern)
		var want []int64
		for i, line := range strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n") {
			if re.MatchString(line) && len(want) < 100 {
				want = append(want, int64(i+1))
			}
		}
		var got []int64
		for _, l := range inside(t, pattern, true, text.String()).Lines {
			got = append(got, l.Number)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", pattern, diff)
		}
	}
}
