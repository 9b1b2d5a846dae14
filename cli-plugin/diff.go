package cliplugin

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/builtin"
	"github.com/occystrap/occystrap/pipeline/compare"
	"github.com/occystrap/occystrap/pipeline/filter"
)

// diffOptions are those that only "diff" takes.
type diffOptions struct {
	ignoreTimes, history, exitCode bool
	include, exclude               []string
}

func (p *program) diffCommand() *cobra.Command {
	var o diffOptions
	cmd := &cobra.Command{
		Use:   "diff [OPTIONS] A B",
		Short: "Compare two images file by file",
		Long: `Compare two images file by file, as a container would see them, and what their
configs say. A and B may be in different places.

Layers that both images have are read once or, where they cannot matter, not at
all. How layers are stored is shown and does not count as a difference.`,
		Example: `  occystrap diff registry://registry.example/app:1 registry://registry.example/app:2
  occystrap diff docker://app:dev tar://app.tar --ignore-times --exit-code
  occystrap diff tar://a.tar tar://b.tar --include 'etc,usr/lib/*.so' -O json`,
		Args: takes("A", "B"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return interruption(ctx, p.runDiff(ctx, cmd, o, args[0], args[1]))
		},
		ValidArgsFunction:     p.completeSources,
		DisableFlagsInUseLine: true,
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.ignoreTimes, "ignore-times", false, "Ignore when files, the image and its layers were made")
	flags.BoolVar(&o.history, "history", false, "Show the entries of the history that differ")
	flags.StringArrayVar(&o.include, "include", nil, "Compare only paths that match, and what is below them; patterns as of exclude, repeatable")
	flags.StringArrayVar(&o.exclude, "exclude", nil, "Do not compare paths that match, and what is below them; patterns as of exclude, repeatable")
	flags.BoolVar(&o.exitCode, "exit-code", false, "End with code 3 when the images differ")
	return cmd
}

// errDiffer: the images differ, and --exit-code was given.
var errDiffer = errors.New("the images differ")

func (p *program) runDiff(ctx context.Context, cmd *cobra.Command, o diffOptions, a, b string) error {
	found, err := p.compare(ctx, cmd, o, a, b)
	if err != nil {
		return err
	}
	defer found.Close()
	write := writeDiff
	if p.options.output.value == outputJSON {
		write = writeDiffJSON
	}
	if err := write(ctx, p.docker.Out(), found, o); err != nil {
		return err
	}
	if o.exitCode && !found.Equal() {
		return errDiffer
	}
	return nil
}

// compare opens both sources and compares what they name. Progress ends before
// results are printed.
func (p *program) compare(ctx context.Context, cmd *cobra.Command, o diffOptions, a, b string) (*compare.Comparison, error) {
	show := p.watch()
	defer show.close()
	opts, err := p.options.run(show.event)
	if err != nil {
		return nil, err
	}
	if opts.Platforms.All || len(opts.Platforms.Want) > 1 {
		return nil, usage(cmd, "diff compares one image with one; give one --platform, or none")
	}
	places, err := p.places(cmd, show.event, a, "")
	if err != nil {
		return nil, err
	}
	opts.Elsewhere, opts.OpenURL = builtin.Elsewhere(places), builtin.OpenURL(places)
	first, err := p.compared(places, a)
	if err != nil {
		return nil, err
	}
	if err := p.checkStreams(cmd, b, ""); err != nil {
		return nil, err
	}
	if isStdin(a) && isStdin(b) {
		return nil, usage(cmd, "A and B both are standard input; write one of them to a file")
	}
	places.Remote.Source = places.Remote.Sink // --dest-creds-file is for the second
	second, err := p.compared(places, b)
	if err != nil {
		return nil, err
	}
	return compare.Run(ctx, first, second, compare.Options{
		IgnoreTimes: o.ignoreTimes, Match: o.match(), TempDir: p.options.tempDir, Pipeline: opts,
	})
}

// compared is the source that a URI names.
func (p *program) compared(places builtin.Config, uri string) (in compare.Input, err error) {
	loc, err := pipeline.ParseLocation(uri)
	if err != nil {
		return in, err
	}
	in.Name, in.Once, in.Far = loc.String(), isStandardStream(loc) || isPipe(loc), loc.Scheme == "registry"
	in.Source, err = p.schemes(places).Source(uri)
	return in, err
}

func isStdin(uri string) bool {
	loc, err := pipeline.ParseLocation(uri)
	return err == nil && isStandardStream(loc)
}

// isPipe says whether a location is a pipe, as a shell makes of <(command).
func isPipe(loc pipeline.Location) bool {
	path, err := loc.FilePath()
	if err != nil || loc.Scheme != "tar" && loc.Scheme != "file" {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && !info.Mode().IsRegular() && !info.IsDir()
}

// match says which paths count; nil is all.
func (o *diffOptions) match() func(path string) bool {
	if len(o.include)+len(o.exclude) == 0 {
		return nil
	}
	in, out := filter.Matcher(patterns(o.include)), filter.Matcher(patterns(o.exclude))
	return func(path string) bool { return (len(o.include) == 0 || in(path)) && !out(path) }
}

// patterns are those of an option that is given several times, or has commas.
func patterns(given []string) (out []string) {
	for _, g := range given {
		for p := range strings.SplitSeq(g, ",") {
			out = append(out, strings.TrimSpace(p))
		}
	}
	return out
}
