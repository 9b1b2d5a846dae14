package cliplugin

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/compare"
)

// writeDiff prints differences for people: the images, what differs in layers and
// configs, the files that are gone, new and changed, and a line that counts.
func writeDiff(ctx context.Context, w io.Writer, c *compare.Comparison, o diffOptions) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "A: %s\nB: %s\n\n", diffImage(c.A), diffImage(c.B))
	switch {
	case c.Identical:
		fmt.Fprintf(b, "The images are identical.\n")
		return b.Flush()
	case c.SameConfig:
		fmt.Fprintf(b, "Both have the config %s.\n\n", c.A.Config.Digest)
	}
	writeDiffLayers(b, c)
	writeDiffConfig(b, c, o.history)
	for _, s := range []struct {
		title string
		count int
		how   string
	}{{"Removed", c.Summary.Removed, diffRemoved}, {"Added", c.Summary.Added, diffAdded}, {"Changed", c.Summary.Changed, diffChanged}} {
		if s.count == 0 {
			continue
		}
		fmt.Fprintf(b, "%s: %s%s\n", s.title, counted(s.count, "path", "paths"), diffBytes(c, s.how))
		for change, err := range c.Files(ctx) {
			if err != nil {
				return err
			}
			if how(change) == s.how {
				fmt.Fprintf(b, "  %s\n", diffLine(change))
			}
		}
		fmt.Fprintln(b)
	}
	fmt.Fprintln(b, diffSummary(c))
	return b.Flush()
}

// The ways in which a path differs.
const (
	diffRemoved = "removed"
	diffAdded   = "added"
	diffChanged = "changed"
)

func how(c compare.Change) string {
	switch {
	case c.A == nil:
		return diffAdded
	case c.B == nil:
		return diffRemoved
	}
	return diffChanged
}

func diffImage(i *compare.Image) string {
	known := i.Manifest
	if known.Digest == "" {
		known.Digest = i.Config.Digest
	}
	name := describeNamed(i.Names, known)
	if len(i.Names) > 0 && known.Digest != "" {
		name += " " + pipeline.OneLine(known.Digest.String())
	}
	return name
}

// writeDiffLayers shows which layers differ, and which are only stored differently.
func writeDiffLayers(b *bufio.Writer, c *compare.Comparison) {
	shared := 0
	for _, l := range c.A.Layers {
		if l.Shared {
			shared++
		}
	}
	fmt.Fprintf(b, "Layers: %d and %d", len(c.A.Layers), len(c.B.Layers))
	switch {
	case shared == len(c.A.Layers) && shared == len(c.B.Layers):
		fmt.Fprintf(b, ", all with the same content\n")
	case shared == 1:
		fmt.Fprintf(b, "; the lowest has the same content\n")
	case shared > 1:
		fmt.Fprintf(b, "; the lowest %d have the same content\n", shared)
	default:
		fmt.Fprintln(b)
	}
	for n, l := range c.A.Layers[:shared] {
		other := c.B.Layers[n]
		if l.Blob.Digest != "" && other.Blob.Digest != "" && l.Blob.Digest != other.Blob.Digest {
			fmt.Fprintf(b, "  = %d %s -> %s\n", n, diffLayer(l), diffLayer(other))
		}
	}
	for n, l := range c.A.Layers[shared:] {
		fmt.Fprintf(b, "  - %d %s\n", shared+n, diffLayer(l))
	}
	for n, l := range c.B.Layers[shared:] {
		fmt.Fprintf(b, "  + %d %s\n", shared+n, diffLayer(l))
	}
	for _, side := range []struct {
		name   string
		unread []int
	}{{"A", c.A.Unread}, {"B", c.B.Unread}} {
		for _, n := range side.unread {
			fmt.Fprintf(b, "  ? layer %d of %s is kept elsewhere by its URLs and was not compared (--foreign=fetch brings it)\n", n, side.name)
		}
	}
	fmt.Fprintln(b)
}

func diffLayer(l compare.Layer) string {
	if l.Blob.Digest == "" {
		return "diff ID " + shortDigest(l.DiffID)
	}
	return fmt.Sprintf("%s (%s, %s)", shortDigest(l.Blob.Digest), infoSize(l.Blob.Size), compressionOf(l.Blob.MediaType))
}

func writeDiffConfig(b *bufio.Writer, c *compare.Comparison, history bool) {
	if len(c.Config) == 0 && c.History == nil {
		return
	}
	fmt.Fprintln(b, "Config:")
	for _, d := range c.Config {
		fmt.Fprintf(b, "  %s\n", diffField(d))
	}
	if h := c.History; h != nil {
		hint := ""
		if !history {
			hint = "; --history shows them"
		}
		fmt.Fprintf(b, "  ~ history: %d and %d entries, of which %d differ, from %d on%s\n", h.A, h.B, len(h.Entries), h.First, hint)
		for _, d := range h.Entries {
			if history {
				fmt.Fprintf(b, "  %s\n", diffField(d))
			}
		}
	}
	fmt.Fprintln(b)
}

func diffField(d compare.Difference) string {
	field := pipeline.QuoteName(d.Field)
	switch {
	case d.A == nil:
		return fmt.Sprintf("+ %s: %s", field, diffValue(d.B))
	case d.B == nil:
		return fmt.Sprintf("- %s: %s", field, diffValue(d.A))
	}
	return fmt.Sprintf("~ %s: %s -> %s", field, diffValue(d.A), diffValue(d.B))
}

// diffValue is a value on one line, as JSON and not too long.
func diffValue(v any) string {
	const most = 300
	raw, err := compactJSON(v)
	if err != nil {
		return "?"
	}
	s := []rune(pipeline.OneLine(string(raw)))
	if len(s) > most {
		return string(s[:most]) + "…"
	}
	return string(s)
}

func diffLine(c compare.Change) string {
	path := diffPath(c.Path)
	switch {
	case c.A == nil:
		return "+ " + path + diffFile(c.B)
	case c.B == nil:
		return "- " + path + diffFile(c.A)
	}
	var what []string
	for _, w := range c.What {
		what = append(what, diffAspect(w, c.A, c.B))
	}
	return "~ " + path + ": " + strings.Join(what, ", ")
}

// diffPath is a path; that of the root is a slash.
func diffPath(path string) string {
	if path == "" {
		return "/"
	}
	return pipeline.QuoteName(path)
}

func diffFile(f *compare.File) string {
	switch {
	case f.Link != "":
		return fmt.Sprintf(" -> %s (hardlink)", pipeline.QuoteName(f.Link))
	case f.IsFile():
		return fmt.Sprintf(" (file, %s)", counted(int(f.Size), "byte", "bytes"))
	case f.Target != "":
		return fmt.Sprintf(" -> %s (%s)", pipeline.QuoteName(f.Target), f.Type)
	}
	return " (" + f.Type + ")"
}

func diffAspect(w compare.Aspect, a, b *compare.File) string {
	switch w {
	case compare.AspectType:
		return strings.TrimSpace(diffFile(a)) + " -> " + strings.TrimSpace(diffFile(b))
	case compare.AspectContent:
		if a.Size != b.Size {
			return fmt.Sprintf("content (%d -> %s)", a.Size, counted(int(b.Size), "byte", "bytes"))
		}
	case compare.AspectTarget:
		if a.Link != "" {
			return fmt.Sprintf("target %s -> %s", pipeline.QuoteName(a.Link), pipeline.QuoteName(b.Link))
		}
		return fmt.Sprintf("target %s -> %s", pipeline.QuoteName(a.Target), pipeline.QuoteName(b.Target))
	case compare.AspectDevice:
		return fmt.Sprintf("device %d:%d -> %d:%d", a.Major, a.Minor, b.Major, b.Minor)
	case compare.AspectMode:
		return fmt.Sprintf("mode %04o -> %04o", a.Mode, b.Mode)
	case compare.AspectOwner:
		return fmt.Sprintf("owner %d:%d -> %d:%d", a.UID, a.GID, b.UID, b.GID)
	case compare.AspectTime:
		return "time " + a.Time.Format(time.RFC3339Nano) + " -> " + b.Time.Format(time.RFC3339Nano)
	case compare.AspectXattrs:
		return "xattrs " + strings.Join(diffXattrs(a, b), " ")
	}
	return string(w)
}

// diffXattrs names the attributes that differ, with a sign before each.
func diffXattrs(a, b *compare.File) (out []string) {
	for _, x := range a.Xattrs {
		i := slices.IndexFunc(b.Xattrs, func(y compare.Xattr) bool { return x.Name == y.Name })
		switch {
		case i < 0:
			out = append(out, "-"+pipeline.QuoteName(x.Name))
		case x != b.Xattrs[i]:
			out = append(out, "~"+pipeline.QuoteName(x.Name))
		}
	}
	for _, y := range b.Xattrs {
		if !slices.ContainsFunc(a.Xattrs, func(x compare.Xattr) bool { return x.Name == y.Name }) {
			out = append(out, "+"+pipeline.QuoteName(y.Name))
		}
	}
	return out
}

func diffBytes(c *compare.Comparison, how string) string {
	switch how {
	case diffRemoved:
		return ", " + infoSize(c.Summary.RemovedBytes)
	case diffAdded:
		return ", " + infoSize(c.Summary.AddedBytes)
	}
	return ""
}

func diffSummary(c *compare.Comparison) string {
	s := c.Summary
	n := s.Removed + s.Added + s.Changed
	switch {
	case n == 0 && c.Equal():
		return "No differences in files and config."
	case n == 0:
		return "No differences in files."
	}
	grown := "files have as many bytes"
	switch {
	case s.Growth > 0:
		grown = "B has " + infoSize(s.Growth) + " more in files"
	case s.Growth < 0:
		grown = "B has " + infoSize(-s.Growth) + " less in files"
	}
	return fmt.Sprintf("%s: %d removed, %d added, %d changed; %s.", counted(n, "path differs", "paths differ"), s.Removed, s.Added, s.Changed, grown)
}
