package cliplugin

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/docker/go-units"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// report is a pipeline.Report as programs get it.
type report struct {
	// Destination is the URI that was written to, without its secrets.
	Destination string        `json:"destination"`
	Images      []imageReport `json:"images"`
	Layers      []layerReport `json:"layers"`
	Read        int64         `json:"bytesRead"`
	Reused      int64         `json:"bytesReused"`
	Rewrote     int64         `json:"bytesRewritten"`
	Written     int64         `json:"bytesWritten"`
	Dropped     []string      `json:"dropped,omitempty"`
	Referrers   int           `json:"referrers,omitempty"`
	Lanes       []laneReport  `json:"lanes,omitempty"`
	Seconds     float64       `json:"seconds"`
}

// imageReport is one image or index that was published.
type imageReport struct {
	Names      []string           `json:"names,omitempty"`
	Source     digest.Digest      `json:"source,omitempty"`
	Config     digest.Digest      `json:"config,omitempty"`
	Descriptor ocispec.Descriptor `json:"descriptor"`
}

// layerReport is what became of one layer.
type layerReport struct {
	Source       ocispec.Descriptor `json:"source"`
	Result       ocispec.Descriptor `json:"result"`
	SourceDiffID digest.Digest      `json:"sourceDiffID,omitempty"`
	ResultDiffID digest.Digest      `json:"resultDiffID,omitempty"`
	How          pipeline.How       `json:"how"`
	Recipe       string             `json:"recipe,omitempty"`
	Why          string             `json:"why,omitempty"`
	Notes        []string           `json:"notes,omitempty"`
}

func newReport(r pipeline.Report, to string) *report {
	out := &report{
		Destination: to,
		Images:      []imageReport{}, Layers: []layerReport{},
		Read: r.Read, Reused: r.Reused, Rewrote: r.Rewrote, Written: r.Written,
		Dropped: r.Dropped, Referrers: r.Referrers, Seconds: r.Duration.Seconds(),
	}
	for _, root := range r.Roots {
		out.Images = append(out.Images, imageReport{Names: root.Names, Source: root.Source, Config: root.Config, Descriptor: root.Manifest})
	}
	for _, l := range r.Lanes {
		out.Lanes = append(out.Lanes, newLaneReport(l))
	}
	for _, l := range r.Layers {
		out.Layers = append(out.Layers, layerReport{
			Source: l.Source, Result: l.Result,
			SourceDiffID: l.SourceDiffID, ResultDiffID: l.ResultDiffID, How: l.How, Recipe: l.Recipe, Why: l.Why, Notes: l.Notes,
		})
	}
	return out
}

// writeSummary tells a person what a run did and where its result is; table adds
// a row for each layer.
func writeSummary(w io.Writer, r pipeline.Report, to string, table bool) {
	if table {
		writeLayers(w, r.Layers)
	} else {
		writeNotes(w, r.Layers)
	}
	for _, dropped := range r.Dropped {
		fmt.Fprintln(w, "left out: "+pipeline.OneLine(dropped))
	}
	for _, root := range r.Roots {
		was := ""
		if root.Source != "" && root.Source != root.Manifest.Digest {
			was = fmt.Sprintf(" (was %s)", root.Source)
		}
		fmt.Fprintf(w, "%s → %s: %s%s\n", rootName(root), pipeline.OneLine(to), root.Manifest.Digest, was)
	}
	if r.Referrers > 0 {
		fmt.Fprintf(w, "what refers to it, %d in number, came along\n", r.Referrers)
	}
	writeDisk(w, r.Lanes)
	layers := "layers"
	if len(r.Layers) == 1 {
		layers = "layer"
	}
	how := ""
	if len(r.Layers) > 0 {
		how = " (" + ways(r.Layers) + ")"
	}
	fmt.Fprintf(w, "Processed %d %s in %s: read %s, reused %s, rewrote %s, wrote %s%s\n", len(r.Layers), layers, seconds(r.Duration),
		human(r.Read), human(r.Reused), human(r.Rewrote), human(r.Written), how)
}

func rootName(root pipeline.RootReport) string {
	if len(root.Names) == 0 {
		return "unnamed image"
	}
	return pipeline.OneLine(strings.Join(root.Names, ", "))
}

// writeNotes says what filters did, layer by layer.
func writeNotes(w io.Writer, layers []pipeline.LayerReport) {
	for _, l := range layers {
		for _, note := range l.Notes {
			fmt.Fprintf(w, "%s: %s\n", shortDigest(l.Source.Digest), pipeline.OneLine(note))
		}
	}
}

func writeLayers(w io.Writer, layers []pipeline.LayerReport) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "LAYER\tSIZE\tBECAME\tSIZE\tHOW\tNOTES")
	for _, l := range layers {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n",
			shortDigest(l.Source.Digest), human(l.Source.Size), shortDigest(l.Result.Digest), human(l.Result.Size),
			l.How, pipeline.OneLine(strings.Join(layerNotes(l), "; ")))
	}
	_ = tw.Flush() // a summary that cannot be shown is no failure of the run
}

// layerNotes are the notes of a layer for the table, which has room for why one
// was compressed anew.
func layerNotes(l pipeline.LayerReport) []string {
	if l.Why == "" {
		return l.Notes
	}
	return append([]string{l.Why}, l.Notes...)
}

// ways counts what became of layers, as in "6 transcoded, 2 copied".
func ways(layers []pipeline.LayerReport) string {
	count := map[pipeline.How]int{}
	var order []pipeline.How
	for _, l := range layers {
		if count[l.How]++; count[l.How] == 1 {
			order = append(order, l.How)
		}
	}
	var out []string
	for _, h := range order {
		out = append(out, fmt.Sprintf("%d %s", count[h], h))
	}
	return strings.Join(out, ", ")
}

func human(n int64) string { return units.HumanSize(float64(n)) }
