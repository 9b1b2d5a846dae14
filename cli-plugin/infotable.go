package cliplugin

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/occystrap/occystrap/pipeline"
)

// layerTable has a row for each layer: its size as a bar and as a part of the
// image, its age, and what made it.
func layerTable(i *inspectedImage) table {
	t := table{head: []string{"#", "Compressed Digest", "DiffID", "Size", "Share", "Age", "Compression", "Created By"}}
	largest := int64(0)
	for _, l := range i.layers {
		largest = max(largest, l.Size)
	}
	for n, l := range i.layers {
		by, made := "", ""
		if h := l.history; h != nil {
			by = instruction(h.CreatedBy)
			if h.Created != nil && h.Created.Unix() > 0 { // else a builder left it out
				made = age(time.Since(*h.Created))
			}
		}
		row := []string{fmt.Sprint(n), "", shortened(l.diffID.String()), "", "", made, "", by}
		if !i.bare {
			part := fmt.Sprintf("%s %3.0f%%", bar(l.Size, largest), 100*share(l.Size, i.compressed()))
			row[1], row[3], row[4], row[6] = shortened(l.Digest.String()), infoSize(l.Size), part, compressionOf(l.MediaType)
		}
		t.rows = append(t.rows, row)
	}
	return t
}

// instruction is what made a layer, without what every builder writes before it.
func instruction(s string) string {
	s = strings.TrimPrefix(pipeline.OneLine(s), "/bin/sh -c #(nop) ")
	return strings.TrimSpace(strings.TrimSuffix(s, "# buildkit"))
}

// bar shows a part of the largest, in eight characters.
func bar(part, largest int64) string {
	const width = 8
	full := int(share(part, largest)*width + 0.5)
	if part > 0 && full == 0 {
		full = 1
	}
	return strings.Repeat("#", full) + strings.Repeat(".", width-full)
}

// age is a time in its largest unit, as "3 weeks".
func age(d time.Duration) string {
	const day = 24 * time.Hour
	for _, u := range []struct {
		name string
		size time.Duration
	}{{"year", 365 * day}, {"month", 30 * day}, {"week", 7 * day}, {"day", day}, {"hour", time.Hour}, {"minute", time.Minute}} {
		if n := int(d / u.size); n > 0 {
			return counted(n, u.name, u.name+"s")
		}
	}
	return "new"
}

// shortened is a digest as the original's table has it.
func shortened(s string) string {
	const width = 25
	if s = pipeline.OneLine(s); len(s) > width {
		return s[:width] + "..."
	}
	return s
}

// table is a grid with borders. A column without any text is left out.
type table struct {
	head []string
	rows [][]string
}

// wrapAt is the width at which the last column is wrapped.
const wrapAt = 50

func (t table) write(b *bytes.Buffer) {
	var columns, widths []int
	for c, h := range t.head {
		w, used := len(h), false
		for _, r := range t.rows {
			used = used || r[c] != ""
			for _, line := range wrapped(r[c]) {
				w = max(w, utf8.RuneCountInString(line))
			}
		}
		if used {
			columns, widths = append(columns, c), append(widths, w)
		}
	}
	border := "+"
	for _, w := range widths {
		border += strings.Repeat("-", w+2) + "+"
	}
	fmt.Fprintln(b, border)
	row := func(cells []string) {
		var lines [][]string
		height := 1
		for _, c := range columns {
			l := wrapped(cells[c])
			lines = append(lines, l)
			height = max(height, len(l))
		}
		for n := range height {
			for c, l := range lines {
				text := ""
				if n < len(l) {
					text = l[n]
				}
				fmt.Fprintf(b, "| %s%s ", text, strings.Repeat(" ", widths[c]-utf8.RuneCountInString(text)))
			}
			fmt.Fprintln(b, "|")
		}
	}
	row(t.head)
	fmt.Fprintln(b, border)
	for _, r := range t.rows {
		row(r)
	}
	fmt.Fprintln(b, border)
}

// wrapped breaks text into lines, at spaces where there are any.
func wrapped(s string) (lines []string) {
	for r := []rune(s); ; {
		if len(r) <= wrapAt {
			return append(lines, string(r))
		}
		at := wrapAt
		for n := wrapAt; n > 0; n-- {
			if r[n] == ' ' {
				at = n
				break
			}
		}
		lines = append(lines, string(r[:at]))
		if r = r[at:]; r[0] == ' ' {
			r = r[1:]
		}
	}
}

// writeWaste prints what later layers replace or delete.
func writeWaste(b *bytes.Buffer, i *inspectedImage) {
	w := i.waste
	if w == nil {
		return
	}
	fmt.Fprintf(b, "\nWasted: %s of %s in %s (%.1f%%)\nEfficiency: %.2f%%\n",
		infoSize(w.Wasted), infoSize(w.Total), counted(w.Count, "file", "files"), w.Percent(), 100*w.Efficiency)
	const shown = 20
	if len(w.Largest) == 0 {
		return
	}
	t := table{head: []string{"Size", "Layer", "What Happens", "Path"}}
	for n, f := range w.Largest {
		if n == shown {
			break
		}
		t.rows = append(t.rows, []string{infoSize(f.Size), fmt.Sprint(f.Layer), fmt.Sprintf("%s in %d", f.How, f.By), pipeline.QuoteName(f.Path)})
	}
	b.WriteByte('\n')
	t.write(b)
	if w.Count > shown {
		fmt.Fprintf(b, "and %s\n", counted(w.Count-shown, "more file", "more files"))
	}
}
