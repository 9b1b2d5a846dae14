package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// columns are the heads of a job's table.
var columns = []string{"", "median", "min", "max", "user", "system", "peak memory", "to ours", "others"}

// rows are the cells of a job's table, without the heads: a contender each.
func (r result) rows() [][]string {
	var mine time.Duration
	for _, s := range r.Series {
		if s.Contender == ours && len(s.Samples) > 0 {
			mine = summarize(s.Samples).Median
		}
	}
	var out [][]string
	for _, s := range r.Series {
		row := []string{s.Contender}
		switch {
		case s.Skipped != "":
			row = append(row, "missing: "+s.Skipped)
		case len(s.Samples) == 0:
			reason, _, _ := strings.Cut(s.Failed, "\n")
			row = append(row, "failed: "+reason)
		default:
			row = append(row, summarize(s.Samples).cells(mine)...)
		}
		out = append(out, row)
	}
	return out
}

// cells are the figures as columns names them.
func (s summary) cells(mine time.Duration) []string {
	ratio := "-"
	if mine > 0 {
		ratio = fmt.Sprintf("%.2f ×", float64(s.Median)/float64(mine))
	}
	return []string{
		seconds(s.Median), seconds(s.Min), seconds(s.Max), seconds(s.User), seconds(s.System),
		fmt.Sprintf("%.0f MiB", float64(s.MaxRSS)/(1<<20)), ratio, fmt.Sprintf("%.0f %%", s.Others*100),
	}
}

// seconds has three figures that count, or milliseconds.
func seconds(d time.Duration) string {
	switch {
	case d >= 100*time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d >= 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond))
}

// text is a job's table for a terminal.
func (r result) text() string {
	var out strings.Builder
	fmt.Fprintf(&out, "\n%s\n", r.Job)
	all := append([][]string{columns}, r.rows()...)
	widths := make([]int, len(columns))
	for _, row := range all {
		for n, cell := range row {
			if len(row) == len(columns) || n == 0 { // a reason may be long
				widths[n] = max(widths[n], utf8.RuneCountInString(cell))
			}
		}
	}
	for _, row := range all {
		out.WriteString(" ")
		for n, cell := range row {
			gap := strings.Repeat(" ", max(widths[n]-utf8.RuneCountInString(cell), 0))
			if n == 0 || len(row) < len(columns) {
				out.WriteString(" " + cell + gap)
			} else {
				out.WriteString("  " + gap + cell)
			}
		}
		out.WriteString("\n")
	}
	for _, line := range r.amounts() {
		fmt.Fprintf(&out, "  %s\n", line)
	}
	for _, v := range r.Verdicts {
		fmt.Fprintf(&out, "  %s: %s\n", v.Want, v.Verdict)
	}
	return out.String()
}

// amounts says how fast plain bytes went through, and how large the layers are
// that came out, for those of whom it is known.
func (r result) amounts() []string {
	const mega = 1e6
	var out []string
	for _, s := range r.Series {
		if len(s.Samples) == 0 {
			continue
		}
		var parts []string
		sum := summarize(s.Samples)
		if sum.Plain > 0 && sum.Median > 0 {
			parts = append(parts, fmt.Sprintf("%.0f MB/s", float64(sum.Plain)/sum.Median.Seconds()/mega))
		}
		if sum.Size > 0 {
			part := fmt.Sprintf("output %.2f MB", float64(sum.Size)/mega)
			if r.Input > 0 {
				part += fmt.Sprintf(", %.4f %% of the input", float64(sum.Size)/float64(r.Input)*100)
			}
			parts = append(parts, part)
		}
		if sum.Disk > 0 {
			parts = append(parts, fmt.Sprintf("%.0f MB more on disk at the peak", float64(sum.Disk)/mega))
		}
		if sum.Sidecar > 0 {
			parts = append(parts, fmt.Sprintf("the sidecar has had %.0f MiB at most", float64(sum.Sidecar)/(1<<20)))
		}
		parts = append(parts, sum.more()...)
		if len(parts) > 0 {
			out = append(out, s.Contender+": "+strings.Join(parts, "; "))
		}
	}
	return out
}

// more are the figures of daemons.
func (s summary) more() []string {
	var parts []string
	if s.Idle > 0 {
		parts = append(parts, fmt.Sprintf("%.1f MiB of anonymous memory when idle", float64(s.Idle)/(1<<20)))
	}
	if s.First > 0 {
		parts = append(parts, "first byte of a layer after "+seconds(s.First))
	}
	if s.Rate > 0 {
		parts = append(parts, fmt.Sprintf("%.0f requests/s, 99 %% of them in %.1f ms", s.Rate, float64(s.P99)/float64(time.Millisecond)))
	}
	if s.Fetches > 0 {
		parts = append(parts, fmt.Sprintf("blobs were fetched %d times from upstream", s.Fetches))
	}
	return parts
}

// cells joins the cells of a row in Markdown, where a pipeline's bar would end one.
func cells(row ...string) string {
	return strings.Join(each(row, func(s string) string { return strings.ReplaceAll(s, "|", `\|`) }), " | ")
}

// markdown is a job's table for RESULTS.md.
func (r result) markdown() string {
	var out strings.Builder
	fmt.Fprintf(&out, "\n## %s\n\n", r.Job)
	if r.Note != "" {
		fmt.Fprintf(&out, "%s\n\n", r.Note)
	}
	if r.Rounds > 0 {
		fmt.Fprintf(&out, "Medians of %d.\n\n", r.Rounds)
	}
	line := func(row []string) { fmt.Fprintf(&out, "| %s |\n", cells(row...)) }
	line(columns)
	line(append([]string{"---"}, each(columns[1:], func(string) string { return "---:" })...))
	for _, row := range r.rows() {
		line(append(row, make([]string, len(columns)-len(row))...))
	}
	if len(r.Verdicts) > 0 || len(r.amounts()) > 0 {
		out.WriteString("\n")
	}
	for _, line := range r.amounts() {
		fmt.Fprintf(&out, "- %s\n", line)
	}
	for _, v := range r.Verdicts {
		fmt.Fprintf(&out, "- %s: **%s**\n", v.Want, v.Verdict)
	}
	return out.String()
}
