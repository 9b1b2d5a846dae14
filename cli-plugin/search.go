package cliplugin

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/builtin"
	"github.com/occystrap/occystrap/pipeline/filter"
)

// searchOptions are those that only "search" takes.
type searchOptions struct {
	filter.SearchOptions
	script   bool
	format   choice
	most     count
	exitCode bool
}

func (p *program) searchCommand() *cobra.Command {
	var o searchOptions
	cmd := &cobra.Command{
		Use:   "search [OPTIONS] SOURCE PATTERN",
		Short: "Look for files in all layers of an image",
		Long: `Look for files in all layers of an image, also for those that a later layer
deletes or replaces.

PATTERN is a shell pattern for a whole path or for its last part; * matches a
slash too. Matches are printed layer by layer, the lowest first, as soon as
they are known; what a layer deletes or replaces of those below it is said
where it does.`,
		Example: `  occystrap search docker://app:1 '*.pem'
  occystrap search registry://docker.io/library/busybox:latest '^bin/(ls|ps)$' --regex
  occystrap search tar://app.tar 'BEGIN RSA PRIVATE KEY' --content -O json`,
		Args: takes("SOURCE", "PATTERN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.runSearch(cmd, o, args[0], args[1])
		},
		ValidArgsFunction:     p.completeSource,
		DisableFlagsInUseLine: true,
	}
	o.install(cmd)
	flags := cmd.Flags()
	o.format = choice{value: filter.SearchText, allowed: []string{filter.SearchText, filter.SearchScript, filter.SearchJSON}}
	o.most = count{least: 1}
	flags.BoolVar(&o.Content, "content", false, "Look for PATTERN in the lines of regular files: plain text or, with --regex, a regular expression")
	flags.BoolVar(&o.Visible, "visible", false, "Print only what is in the finished image")
	flags.VarP(&o.format, "output-format", "O", "How to print matches: text, script or json")
	flags.VarP(&o.most, "max-count", "m", "Stop after this many matches")
	flags.BoolVar(&o.exitCode, "exit-code", false, "End with code 3 when nothing matches")
	_ = cmd.RegisterFlagCompletionFunc("output-format", fixed(o.format.allowed)) // fails only for flags that do not exist
	return cmd
}

// install adds the options that the original has.
func (o *searchOptions) install(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.Regex, "regex", false, "PATTERN is a regular expression for any part of the path (RE2)")
	cmd.Flags().BoolVar(&o.script, "script-friendly", false, "Print IMAGE:TAG:LAYER:PATH, as -O script does")
}

// errNothing: nothing matches, and --exit-code was given.
var errNothing = errors.New("nothing matches")

// errEnough: as much was found as was wanted.
var errEnough = errors.New("enough was found")

func (p *program) runSearch(cmd *cobra.Command, o searchOptions, from, pattern string) error {
	if o.script {
		if cmd.Flags().Changed("output-format") && o.format.value != filter.SearchScript {
			return usage(cmd, "--script-friendly and --output-format %s are both given; give one", o.format.value)
		}
		o.format.value = filter.SearchScript
	}
	o.Pattern = pattern
	ctx, stop := interruptible(cmd.Context())
	defer stop()
	return interruption(ctx, p.search(ctx, cmd, o, from))
}

// search looks through all that the source names.
func (p *program) search(ctx context.Context, cmd *cobra.Command, o searchOptions, from string) error {
	stderr := p.docker.Err()
	_, columns := stderr.GetTtySize()
	shown := p.options
	// Bars would write over the matches. In a file nobody wants to read which
	// layer began when.
	bars := stderr.IsTerminal() && columns > 0 && !p.docker.Out().IsTerminal()
	if shown.progress.value == progressAuto && !bars {
		shown.progress.value = progressNone
	}
	show := newDisplay(stderr, bars, &shown)
	defer show.close()
	tell := &limited{SearchResults: newSearchPrinter(p.docker.Out(), o.format.value, show.event), left: o.most.value}
	err := p.look(ctx, cmd, show, o, from, tell)
	switch {
	case errors.Is(err, errEnough):
		return tell.End(tell.done)
	case err != nil:
		return err
	case o.exitCode && tell.done.Matches == 0:
		return errNothing
	}
	return nil
}

// look runs the filter over the source.
func (p *program) look(ctx context.Context, cmd *cobra.Command, show display, o searchOptions, from string, to filter.SearchResults) error {
	opts, err := p.options.run(show.event)
	if err != nil {
		return err
	}
	places, err := p.places(cmd, show.event, from, "")
	if err != nil {
		return err
	}
	opts.Elsewhere, opts.OpenURL = builtin.Elsewhere(places), builtin.OpenURL(places)
	f, err := filter.NewSearch(o.SearchOptions, to)
	if err != nil {
		return err
	}
	src, err := p.schemes(places).Source(from)
	if err != nil {
		return err
	}
	return pipeline.Look(ctx, src, []pipeline.Filter{f}, opts)
}
