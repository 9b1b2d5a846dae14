package main

import (
	"fmt"
	"strings"
)

// What is shown of a failure, so that many of them fit on a page.
const (
	lastLines   = 15  // of a test that failed
	firstLines  = 40  // of a panic or a data race
	longestLine = 400 // bytes
	mostShown   = 40  // failures with their lines; the others are named
)

// cause is the line with which a panic or a data race begins; -1 where there is
// none.
func cause(lines []string) int {
	for n, line := range lines {
		for _, prefix := range []string{"panic: ", "fatal error: ", "WARNING: DATA RACE", "SIGSEGV"} {
			if strings.HasPrefix(strings.TrimSpace(line), prefix) {
				return n
			}
		}
	}
	return -1
}

// telling is the part of the lines that says why.
func telling(lines []string) []string {
	if n := cause(lines); n >= 0 {
		lines = lines[n:min(len(lines), n+firstLines)]
	} else {
		lines = lines[max(0, len(lines)-lastLines):]
	}
	shown := make([]string, 0, len(lines))
	for _, line := range lines {
		if len(line) > longestLine {
			line = line[:longestLine] + " …"
		}
		shown = append(shown, line)
	}
	return shown
}

// String is a failure as it is printed.
func (f failure) String() string {
	var out strings.Builder
	fmt.Fprintf(&out, "--- FAIL: %s\n", f.what) // as go test begins it
	for _, line := range f.lines {
		fmt.Fprintf(&out, "    %s\n", strings.TrimLeft(line, " "))
	}
	return out.String()
}

// summary is all that happened so in a run; nothing is "".
func summary(name, how string, all []failure) string {
	if len(all) == 0 {
		return ""
	}
	var out strings.Builder
	fmt.Fprintf(&out, "\n==== %s: %d %s ====\n", name, len(all), how)
	for n, f := range all {
		if n == mostShown {
			fmt.Fprintf(&out, "and %d more:\n", len(all)-mostShown)
		}
		if n >= mostShown {
			f.lines = nil
		}
		out.WriteString(f.String())
	}
	return out.String()
}
