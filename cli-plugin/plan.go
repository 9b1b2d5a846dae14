package cliplugin

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/pipeline"
)

func (p *program) planCommand() *cobra.Command {
	var o processOptions
	cmd := &cobra.Command{
		Use:   "plan [OPTIONS] SOURCE DESTINATION",
		Short: "Say what process would do, and write nothing",
		Long: `Say what process would do with the same arguments: which lane each daemon's end
takes and why, which layers the destination has, which move, which are compressed
anew, and which filters read and may change.

No layer is opened and nothing is written. Where a daemon can only be asked
(lanes push and save), sizes are what it says of files.`,
		Example: `  occystrap plan docker://app:1 registry://registry.example/app:1
  occystrap plan docker://app:1 'docker://app:1?host=ssh://jo@prod.example'
  occystrap plan tar://app.tar docker://app:1 -f normalize-timestamps -O json`,
		Args: takes("SOURCE", "DESTINATION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return interruption(ctx, p.plan(ctx, cmd, o, args[0], args[1]))
		},
		ValidArgsFunction:     p.completeEnds,
		DisableFlagsInUseLine: true,
	}
	o.install(cmd)
	return cmd
}

// plan prints what a run would do.
func (p *program) plan(ctx context.Context, cmd *cobra.Command, o processOptions, from, to string) error {
	if loc, err := pipeline.ParseLocation(from); err == nil && isStandardStream(loc) {
		return usage(cmd, "plan reads no standard input, which could not be read again; name a file")
	}
	show := p.watch()
	p.results = &results{w: io.Discard}
	forecast, err := p.foresee(ctx, cmd, show, o, from, to)
	show.close()
	if err != nil {
		return err
	}
	loc, err := pipeline.ParseLocation(to)
	if err != nil {
		return err
	}
	source, err := pipeline.ParseLocation(from)
	if err != nil {
		return err
	}
	plan := newPlan(forecast, source.String(), loc.String())
	if p.options.output.value == outputJSON {
		return writeJSON(p.docker.Out(), plan)
	}
	return plan.write(p.docker.Out(), forecast)
}

func (p *program) foresee(ctx context.Context, cmd *cobra.Command, show display, o processOptions, from, to string) (pipeline.Forecast, error) {
	j, err := p.job(ctx, cmd, show, o, from, to)
	if err != nil {
		return pipeline.Forecast{}, err
	}
	return pipeline.Foresee(ctx, j.src, j.filters, j.dst, j.opts) // the layer cache learned nothing
}

// planReport is a forecast as programs get it.
type planReport struct {
	Source      string       `json:"source"`
	Destination string       `json:"destination"`
	Images      []planImage  `json:"images"`
	Layers      []planLayer  `json:"layers"`
	Lanes       []laneReport `json:"lanes,omitempty"`
	Move        int64        `json:"bytesToMove"`
	Maybe       int64        `json:"bytesFiltersRead"`
	Held        int64        `json:"bytesThere"`
	Approximate bool         `json:"approximate,omitempty"`
	Vague       string       `json:"unknownWhatIsThere,omitempty"`
	Unasked     bool         `json:"destinationNotAsked,omitempty"`
}

type planImage struct {
	Names      []string           `json:"names,omitempty"`
	Descriptor ocispec.Descriptor `json:"descriptor"`
}

type planLayer struct {
	Descriptor ocispec.Descriptor `json:"descriptor"`
	DiffID     digest.Digest      `json:"diffID,omitempty"`
	How        pipeline.How       `json:"how"`
	Filters    []string           `json:"filters,omitempty"`
	Why        string             `json:"why,omitempty"`
}

func newPlan(f pipeline.Forecast, from, to string) planReport {
	out := planReport{
		Source: from, Destination: to, Images: []planImage{}, Layers: []planLayer{},
		Move: f.Move, Maybe: f.Maybe, Held: f.Held, Approximate: f.Approximate, Vague: f.Vague, Unasked: f.Unasked,
	}
	for _, r := range f.Roots {
		out.Images = append(out.Images, planImage{r.Names, r.Manifest})
	}
	for _, l := range f.Layers {
		out.Layers = append(out.Layers, planLayer{l.Layer.Blob, l.Layer.DiffID, l.How, l.Filters, l.Why})
	}
	for _, l := range f.Lanes {
		out.Lanes = append(out.Lanes, newLaneReport(l))
	}
	return out
}

// write shows a plan to a person.
func (r planReport) write(w io.Writer, f pipeline.Forecast) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s → %s\n", pipeline.OneLine(r.Source), pipeline.OneLine(r.Destination))
	for _, l := range f.Lanes {
		fmt.Fprintln(&b, laneLine(l))
	}
	for _, i := range f.Roots {
		fmt.Fprintf(&b, "%s: %s\n", rootName(pipeline.RootReport{Names: i.Names}), i.Manifest.Digest)
	}
	var rows strings.Builder
	tw := tabwriter.NewWriter(&rows, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "LAYER\tSIZE\tPLAN\tWHY")
	for _, l := range r.Layers {
		why := l.Why
		if len(l.Filters) > 0 {
			why = strings.Join(l.Filters, ", ")
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", shortDigest(l.Descriptor.Digest), human(l.Descriptor.Size), planned(l.How), pipeline.OneLine(why))
	}
	_ = tw.Flush() // into memory
	for line := range strings.Lines(rows.String()) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	about := ""
	if r.Approximate {
		about = "about "
	}
	fmt.Fprintf(&b, "To move: %s%s", about, human(r.Move))
	if r.Maybe > 0 {
		fmt.Fprintf(&b, ", and %s%s that filters read and may change", about, human(r.Maybe))
	}
	fmt.Fprintf(&b, "; there already: %s\n", human(r.Held))
	switch {
	case r.Vague != "":
		fmt.Fprintf(&b, "What the destination has is not known: %s.\n", r.Vague)
	case r.Unasked:
		fmt.Fprintln(&b, "The destination is not asked what it has.")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// planned is what would become of a layer, for a person.
func planned(h pipeline.How) string {
	switch h { //nolint:exhaustive // the others say it themselves
	case pipeline.HowHeld:
		return "there already"
	case pipeline.HowCached:
		return "there already, as the cache knows"
	case pipeline.HowCopied:
		return "moves as it is"
	case pipeline.HowRecoded:
		return "stored otherwise"
	case pipeline.HowRead:
		return "read by filters"
	}
	return string(h)
}
