package cliplugin

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/compare"
)

// jsonDiff is a comparison as programs get it, but for the files.
type jsonDiff struct {
	Identical   bool             `json:"identical"`
	Equal       bool             `json:"equal"`
	IgnoreTimes bool             `json:"ignoreTimes"`
	A           jsonCompared     `json:"a"`
	B           jsonCompared     `json:"b"`
	Config      []jsonDifference `json:"config"`
	History     *jsonHistory     `json:"history,omitempty"`
	Summary     jsonDiffSummary  `json:"summary"`
}

type jsonCompared struct {
	jsonImage
	Config digest.Digest       `json:"config,omitempty"`
	Layers []jsonComparedLayer `json:"layers"`
	Unread []int               `json:"unread,omitempty"`
}

type jsonComparedLayer struct {
	Digest    digest.Digest `json:"digest,omitempty"`
	DiffID    digest.Digest `json:"diffID"`
	Size      int64         `json:"size,omitempty"`
	MediaType string        `json:"mediaType,omitempty"`
	Shared    bool          `json:"shared"`
	Read      bool          `json:"read"`
}

type jsonDifference struct {
	Field string `json:"field"`
	A     any    `json:"a,omitempty"`
	B     any    `json:"b,omitempty"`
}

type jsonHistory struct {
	A       int              `json:"a"`
	B       int              `json:"b"`
	First   int              `json:"first"`
	Entries []jsonDifference `json:"entries"`
}

type jsonDiffSummary struct {
	Removed      int   `json:"removed"`
	Added        int   `json:"added"`
	Changed      int   `json:"changed"`
	Same         int   `json:"same"`
	RemovedBytes int64 `json:"removedBytes"`
	AddedBytes   int64 `json:"addedBytes"`
	Growth       int64 `json:"growth"`
}

type jsonChange struct {
	Path      string           `json:"path"`
	PathBytes []byte           `json:"pathBytes,omitempty"`
	Change    string           `json:"change"`
	What      []compare.Aspect `json:"what,omitempty"`
	Xattrs    []string         `json:"xattrs,omitempty"`
	A         *jsonDiffFile    `json:"a,omitempty"`
	B         *jsonDiffFile    `json:"b,omitempty"`
}

type jsonDiffFile struct {
	Type        string        `json:"type"`
	Implied     bool          `json:"implied,omitempty"`
	Layer       int           `json:"layerIndex"`
	Size        *int64        `json:"size,omitempty"`
	Digest      digest.Digest `json:"digest,omitempty"`
	Mode        string        `json:"mode,omitempty"`
	UID         *int64        `json:"uid,omitempty"`
	GID         *int64        `json:"gid,omitempty"`
	Time        *time.Time    `json:"time,omitempty"`
	Target      string        `json:"target,omitempty"`
	TargetBytes []byte        `json:"targetBytes,omitempty"`
	Link        string        `json:"link,omitempty"`
	LinkBytes   []byte        `json:"linkBytes,omitempty"`
	Device      string        `json:"device,omitempty"`
	Xattrs      []string      `json:"xattrs,omitempty"`
}

// writeDiffJSON prints one object. The files are its last field, one on each line,
// as they are found: there may be very many.
func writeDiffJSON(ctx context.Context, w io.Writer, c *compare.Comparison, o diffOptions) error {
	var head bytes.Buffer
	if err := writeJSON(&head, newJSONDiff(c, o)); err != nil {
		return err
	}
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%s,\n  \"files\": [", bytes.TrimSuffix(head.Bytes(), []byte("\n}\n")))
	between := "\n    "
	for change, err := range c.Files(ctx) {
		if err != nil {
			return err
		}
		line, err := compactJSON(newJSONChange(change))
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "%s%s", between, line)
		between = ",\n    "
	}
	if between[0] == ',' {
		fmt.Fprint(b, "\n  ")
	}
	fmt.Fprintln(b, "]\n}")
	return b.Flush()
}

func newJSONDiff(c *compare.Comparison, o diffOptions) jsonDiff {
	s := c.Summary
	out := jsonDiff{
		Identical: c.Identical, Equal: c.Equal(), IgnoreTimes: o.ignoreTimes,
		A: newJSONCompared(c.A), B: newJSONCompared(c.B), Config: jsonDifferences(c.Config),
		Summary: jsonDiffSummary{s.Removed, s.Added, s.Changed, s.Same, s.RemovedBytes, s.AddedBytes, s.Growth},
	}
	if h := c.History; h != nil {
		out.History = &jsonHistory{h.A, h.B, h.First, jsonDifferences(h.Entries)}
	}
	return out
}

func jsonDifferences(list []compare.Difference) []jsonDifference {
	out := []jsonDifference{}
	for _, d := range list {
		out = append(out, jsonDifference{d.Field, d.A, d.B})
	}
	return out
}

func newJSONCompared(i *compare.Image) jsonCompared {
	out := jsonCompared{jsonImage: jsonNamed(i.Names, i.Manifest), Config: i.Config.Digest, Layers: []jsonComparedLayer{}, Unread: i.Unread}
	for _, l := range i.Layers {
		out.Layers = append(out.Layers, jsonComparedLayer{l.Blob.Digest, l.DiffID, l.Blob.Size, l.Blob.MediaType, l.Shared, l.Read})
	}
	return out
}

func newJSONChange(c compare.Change) jsonChange {
	out := jsonChange{Path: c.Path, PathBytes: rawPath(c.Path), Change: how(c), What: c.What, A: newJSONDiffFile(c.A), B: newJSONDiffFile(c.B)}
	if c.A != nil && c.B != nil {
		out.Xattrs = diffXattrs(c.A, c.B)
	}
	return out
}

func newJSONDiffFile(f *compare.File) *jsonDiffFile {
	if f == nil {
		return nil
	}
	out := &jsonDiffFile{
		Type: f.Type, Implied: f.Implied, Layer: f.Layer, Digest: f.Digest(), Target: f.Target, TargetBytes: rawPath(f.Target),
		Link: f.Link, LinkBytes: rawPath(f.Link),
	}
	if f.IsFile() {
		out.Size = &f.Size
	}
	if !f.IsAlone() {
		return out
	}
	out.Mode = fmt.Sprintf("%04o", f.Mode)
	out.UID, out.GID, out.Time = &f.UID, &f.GID, &f.Time
	if f.IsDevice() {
		out.Device = fmt.Sprintf("%d:%d", f.Major, f.Minor)
	}
	for _, x := range f.Xattrs {
		out.Xattrs = append(out.Xattrs, x.Name)
	}
	return out
}
