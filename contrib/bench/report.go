package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A report is everything that one call of the program found out.
type report struct {
	Date    time.Time
	Rounds  int
	Machine machine
	Go      string
	Tools   map[string]string // versions
	Missing map[string]string // tools, and why
	Image   imageFacts
	Results []result
}

// imageFacts describe the image that was moved.
type imageFacts struct {
	Manifest   string
	Layers     int
	Compressed int64 // bytes
	Plain      int64
}

// markdown is RESULTS.md.
func (r report) markdown() string {
	var out strings.Builder
	out.WriteString("# Results of contrib/bench\n\n")
	fmt.Fprintf(&out, "Written by `make bench` on %s. What is measured and how: `go doc ./contrib/bench`.\n\n", r.Date.UTC().Format("2006-01-02 15:04 MST"))
	fmt.Fprintf(&out, "Medians of %d rounds, where a job says nothing else. Wall time first; user and system are of the program alone, without the registry. "+
		"Peak memory is the highest of all rounds. \"to ours\" is the median divided by that of occystrap: above 1 occystrap is faster. "+
		"\"others\" is the share of the machine that something else took.\n\n", r.Rounds)
	out.WriteString("| | |\n|---|---|\n")
	for _, row := range [][2]string{
		{"machine", fmt.Sprintf("%s, %d cores, %s", r.Machine.CPU, r.Machine.Cores, r.Machine.Memory)},
		{"system", fmt.Sprintf("%s, Linux %s", r.Machine.System, r.Machine.Kernel)},
		{"Go", r.Go},
		{"image", r.Image.String()},
	} {
		fmt.Fprintf(&out, "| %s | %s |\n", row[0], row[1])
	}
	for _, name := range slices.Sorted(maps.Keys(r.Tools)) {
		fmt.Fprintf(&out, "| %s | %s |\n", name, r.Tools[name])
	}
	for _, name := range slices.Sorted(maps.Keys(r.Missing)) {
		fmt.Fprintf(&out, "| %s | missing: %s |\n", name, r.Missing[name])
	}
	out.WriteString("\n## Wanted\n\n| job | wanted | |\n|---|---|---|\n")
	for _, j := range r.Results {
		for _, v := range j.Verdicts {
			fmt.Fprintf(&out, "| %s |\n", cells(j.Job, v.Want, string(v.Verdict)))
		}
	}
	for _, j := range r.Results {
		out.WriteString(j.markdown())
	}
	return out.String()
}

// String says the sizes in gigabytes.
func (i imageFacts) String() string {
	const giga = 1e9
	return fmt.Sprintf("%d layers, %.2f GB compressed, %.2f GB plain", i.Layers, float64(i.Compressed)/giga, float64(i.Plain)/giga)
}

// merged is the report with the results of earlier calls, where it has none of the
// same job. There may be no earlier ones.
func (r report) merged(path string) (report, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	var before report
	if err := json.Unmarshal(raw, &before); err != nil {
		return r, fmt.Errorf("read %s: %w", path, err)
	}
	all := before.Results
	for _, mine := range r.Results {
		if n := slices.IndexFunc(all, func(b result) bool { return b.Job == mine.Job }); n >= 0 {
			all[n] = mine
		} else {
			all = append(all, mine)
		}
	}
	r.Results = all
	return r, nil
}

// writeJSON keeps every sample.
func (r report) writeJSON(path string) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return replace(path, append(raw, '\n'))
}

// writeMarkdown writes RESULTS.md.
func (r report) writeMarkdown(path string) error { return replace(path, []byte(r.markdown())) }

// replace writes a file whole or not at all.
func replace(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", content, 0o644); err != nil { //nolint:gosec // results are for everybody
		return err
	}
	return os.Rename(path+".new", path)
}
