package main

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// sampleResult is a job with every kind of contender.
func sampleResult() result {
	run := func(wall time.Duration) sample {
		return sample{usage: usage{Wall: wall, User: wall / 2, System: wall / 10, MaxRSS: 32 << 20}, Others: 0.04}
	}
	return result{
		Job: "registry to tar",
		Series: []series{
			{Contender: ours, Samples: []sample{run(2 * time.Second)}},
			{Contender: "crane pull", Samples: []sample{run(5 * time.Second)}},
			{Contender: "regctl", Skipped: "make testenv installs it"},
			{Contender: "skopeo", Failed: "exit status 1\nand much more"},
		},
		Verdicts: []judged{{Want: "ahead of crane pull", Verdict: pass}},
	}
}

func TestTableTellsRatiosAndWhoIsMissing(t *testing.T) {
	t.Parallel()
	text := sampleResult().text()
	for _, want := range []string{"2.50 ×", "32 MiB", "1.00 s", "missing: make testenv installs it", "failed: exit status 1\n", "ahead of crane pull: pass"} {
		if !strings.Contains(text, want) {
			t.Errorf("the table lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "much more") {
		t.Error("the table has more than the first line of an error")
	}
}

func TestTableTellsSpeedAndSize(t *testing.T) {
	t.Parallel()
	r := sampleResult()
	r.Input = 2e6
	r.Series[0].Samples[0].amounts = amounts{Plain: 10e6, Size: 1e6}
	for _, text := range []string{r.text(), r.markdown()} {
		if want := "occystrap: 5 MB/s; output 1.00 MB, 50.0000 % of the input\n"; !strings.Contains(text, want) {
			t.Errorf("the table lacks %q:\n%s", want, text)
		}
	}
}

func TestColumnsStandBelowTheirHeads(t *testing.T) {
	t.Parallel()
	lines := strings.Split(strings.TrimSpace(sampleResult().text()), "\n")
	head, row := lines[1], lines[2]
	if a, b := utf8.RuneCountInString(head), utf8.RuneCountInString(row); a != b {
		t.Errorf("the head has %d columns, the row %d:\n%s\n%s", a, b, head, row)
	}
}

func TestMarkdownRowsHaveAllColumns(t *testing.T) {
	t.Parallel()
	rows := 0
	for line := range strings.Lines(sampleResult().markdown()) {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		rows++
		if got := strings.Count(line, "|"); got != len(columns)+1 {
			t.Errorf("%d bars, want %d: %s", got, len(columns)+1, line)
		}
	}
	if want := 2 + len(sampleResult().Series); rows != want {
		t.Errorf("%d rows, want %d", rows, want)
	}
}

func TestSecondsKeepThreeFigures(t *testing.T) {
	t.Parallel()
	for in, want := range map[time.Duration]string{
		21 * time.Millisecond:     "21 ms",
		1234 * time.Millisecond:   "1.23 s",
		12345 * time.Millisecond:  "12.3 s",
		123456 * time.Millisecond: "123 s",
	} {
		if got := seconds(in); got != want {
			t.Errorf("%v is %q, want %q", in, got, want)
		}
	}
}

// A job that pipes one program into another has a bar in its name.
func TestBarEndsNoMarkdownCell(t *testing.T) {
	t.Parallel()
	if got, want := cells("a | b", "c"), `a \| b | c`; got != want {
		t.Errorf("%s instead of %s", got, want)
	}
}
