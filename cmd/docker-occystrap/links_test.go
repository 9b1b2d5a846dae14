package main_test

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// root is the folder of the repository.
const root = "../.."

var (
	mdLink    = regexp.MustCompile(`\]\(([^()\s]+(?:\([^()\s]*\)[^()\s]*)*)\)`)
	mdCode    = regexp.MustCompile("`[^`]*`")
	mdHeading = regexp.MustCompile(`^#{1,6} +(.*?)(?: +#+)?$`)
)

// Links to the web are not followed: tests need no network.
func TestLinksOfTheDocumentsLeadSomewhere(t *testing.T) {
	t.Parallel()
	links := 0
	for _, page := range documents(t) {
		for i, text := range prose(t, page) {
			for _, m := range mdLink.FindAllStringSubmatch(mdCode.ReplaceAllString(text, "``"), -1) {
				if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
					continue
				}
				links++
				if err := follow(t, page, m[1]); err != nil {
					t.Errorf("%s:%d: %v", page, i+1, err)
				}
			}
		}
	}
	if least := 20; links < least {
		t.Errorf("saw %d links, expected at least %d", links, least)
	}
}

// follow says what is wrong with a link of a page.
func follow(t *testing.T, page, link string) error {
	t.Helper()
	path, anchor, _ := strings.Cut(link, "#")
	path, err := url.PathUnescape(path)
	if err != nil {
		return fmt.Errorf("link %s: %w", link, err)
	}
	target := page
	if path != "" {
		target = filepath.Join(filepath.Dir(page), path)
	}
	if _, err := os.Stat(filepath.Join(root, target)); err != nil {
		return fmt.Errorf("link %s leads to %s, which is not there", link, target)
	}
	if anchor == "" {
		return nil
	}
	seen := map[string]int{}
	for _, text := range prose(t, target) {
		if m := mdHeading.FindStringSubmatch(text); m != nil {
			s := slug(m[1])
			if n := seen[s]; n > 0 {
				s = fmt.Sprintf("%s-%d", s, n)
			}
			seen[slug(m[1])]++
			if s == anchor {
				return nil
			}
		}
	}
	return fmt.Errorf("link %s: %s has no heading for #%s", link, target, anchor)
}

// slug is the anchor that GitHub and Gitea give a heading.
func slug(heading string) string {
	heading = regexp.MustCompile(`\[([^]]*)\]\([^)]*\)`).ReplaceAllString(heading, "$1")
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ' || r == '-':
			return '-'
		case r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

func TestAnchorsAreThoseThatAForgeGives(t *testing.T) {
	t.Parallel()
	for heading, want := range map[string]string{
		"Options":                 "options",
		"`info SOURCE`":           "info-source",
		"How to add …":            "how-to-add-",
		"`docker://NAME[:TAG]`":   "dockernametag",
		"A [link](x.md), and_all": "a-link-and_all",
	} {
		if got := slug(heading); got != want {
			t.Errorf("slug of %q is %q, expected %q", heading, got, want)
		}
	}
}

// prose are the lines of a page, where those of code are empty.
func prose(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	fence := ""
	for line := range strings.SplitSeq(string(text), "\n") {
		lines = append(lines, "")
		mark := line[:len(line)-len(strings.TrimLeft(line, "`"))]
		switch {
		case fence == "" && len(mark) >= len("```"):
			fence = mark
		case fence != "" && strings.TrimRight(line, " ") == fence:
			fence = ""
		case fence == "":
			lines[len(lines)-1] = line
		}
	}
	return lines
}

// documents are the Markdown files of the repository, but for what others wrote
// and what was built.
func documents(t *testing.T) []string {
	t.Helper()
	var pages []string
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bin" || d.Name() == "testdata"):
			return fs.SkipDir
		case filepath.Ext(path) == ".md":
			pages = append(pages, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return pages
}
