package cliplugin

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/builtin"
)

// processOptions are those that only "process" takes.
type processOptions struct {
	chain        chain
	metadataFile string
	referrers    bool
	provenance   choice
}

func (p *program) processCommand() *cobra.Command {
	var o processOptions
	cmd := &cobra.Command{
		Use:   "process [OPTIONS] SOURCE DESTINATION",
		Short: "Move an image from SOURCE to DESTINATION through filters",
		Long: `Move an image from SOURCE to DESTINATION through filters.

SOURCE and DESTINATION are URIs, as registry://HOST/NAME[:TAG|@DIGEST],
tar://FILE, dir://DIR, docker://NAME[:TAG] or containerd://NAME[:TAG], each with
options as in ?key=value&key=value; the command uris lists them. The first filter
sees the image first; the command filters lists them.`,
		Example: `  occystrap process registry://docker.io/library/busybox:latest tar://busybox.tar
  occystrap process docker://app:1 registry://registry.example/app:1 -f normalize-timestamps
  occystrap process tar://in.tar tar://out.tar -f 'exclude:pattern=**/.git/**,**/*.pyc'
  occystrap process registry://registry.example/app:1 'dir://images?unique_names=true&expand=true'
  occystrap process registry://registry.example/app:1 registry://mirror.example/app:1 --all-platforms --verify
  occystrap process docker://app:1 registry://registry.example/app:1 --pipeline release.toml --metadata-file pushed.json`,
		Args: takes("SOURCE", "DESTINATION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return interruption(ctx, p.process(ctx, cmd, o, args[0], args[1]))
		},
		ValidArgsFunction:     p.completeEnds,
		DisableFlagsInUseLine: true,
	}
	o.install(cmd)
	cmd.Flags().StringVar(&o.metadataFile, "metadata-file", "", "Write digests and what was done to this file, as JSON")
	return cmd
}

// install adds the options that say what a run does to an image.
func (o *processOptions) install(cmd *cobra.Command) {
	o.chain.install(cmd)
	cmd.Flags().BoolVar(&o.referrers, "referrers", false, "Take along what refers to the images: signatures, SBOMs, attestations")
	o.provenance = choice{value: string(pipeline.ProvenanceOff), allowed: words(pipeline.ProvenanceOff, pipeline.ProvenanceReferrer, pipeline.ProvenanceAnnotation)}
	cmd.Flags().Var(&o.provenance, "provenance", "Record what a changed image was made from: off, referrer or annotation (which makes builds differ)")
	_ = cmd.RegisterFlagCompletionFunc("provenance", fixed(o.provenance.allowed)) // fails only for flags that do not exist
}

// process moves one image, or all that the source names.
func (p *program) process(ctx context.Context, cmd *cobra.Command, o processOptions, from, to string) error {
	_, err := p.processed(ctx, cmd, o, from, to)
	return err
}

// processed is process, and what it did.
func (p *program) processed(ctx context.Context, cmd *cobra.Command, o processOptions, from, to string) (pipeline.Report, error) {
	stderr := p.docker.Err()
	_, columns := stderr.GetTtySize() // some terminals have none, so bars cannot be drawn
	show := newDisplay(stderr, stderr.IsTerminal() && columns > 0, &p.options)
	_, bars := show.(*bars)
	p.results = &results{w: p.docker.Out(), wait: bars && p.docker.Out().IsTerminal()}
	done, err := p.move(ctx, cmd, show, o, from, to)
	show.close()
	err = errors.Join(err, p.results.flush())
	if err != nil {
		return done, err
	}
	loc, err := pipeline.ParseLocation(to)
	if err != nil {
		return done, err
	}
	show.report(done, loc.String())
	if o.metadataFile != "" {
		return done, writeMetadata(o.metadataFile, done, loc)
	}
	return done, nil
}

// move runs the pipeline between the two ends.
func (p *program) move(ctx context.Context, cmd *cobra.Command, show display, o processOptions, from, to string) (pipeline.Report, error) {
	j, err := p.job(ctx, cmd, show, o, from, to)
	if err != nil {
		return pipeline.Report{}, err
	}
	defer j.save()
	var back pipeline.Source
	if p.options.verify {
		if back, err = readBack(j.schemes, to); err != nil {
			return pipeline.Report{}, errors.Join(err, j.dst.Close())
		}
	}
	done, err := pipeline.Run(ctx, j.src, j.filters, j.dst, j.opts)
	if err != nil || back == nil {
		return done, err
	}
	return done, verify(ctx, back, done, j.opts)
}

// A job is all that a run takes, as the command line has it.
type job struct {
	schemes pipeline.Schemes
	src     pipeline.Source
	filters []pipeline.Filter
	dst     pipeline.Sink
	opts    pipeline.Options
	// save keeps what the layer cache learned.
	save func()
}

// job reads the command line of a run; nothing is opened or dialled yet, but for
// the layer cache.
func (p *program) job(ctx context.Context, cmd *cobra.Command, show display, o processOptions, from, to string) (j job, err error) {
	if j.opts, err = p.options.run(show.event); err != nil {
		return j, err
	}
	places, err := p.places(cmd, show.event, from, to)
	if err != nil {
		return j, err
	}
	j.schemes = p.schemes(places)
	j.opts.Elsewhere, j.opts.OpenURL = builtin.Elsewhere(places), builtin.OpenURL(places)
	j.opts.Referrers = o.referrers
	j.opts.Provenance = pipeline.Provenance{Mode: pipeline.ProvenanceMode(o.provenance.value), Version: p.build().Version}
	j.filters, err = o.chain.filters(builtin.Filters(places, p.further(show.event)...).Noting(func(f pipeline.FilterOutline) {
		j.opts.Provenance.Filters = append(j.opts.Provenance.Filters, f)
	}))
	if err != nil {
		return j, err
	}
	save, err := p.options.openCache(ctx, o.chain.written(j.filters), &j.opts)
	if err != nil {
		return j, err
	}
	if j.src, err = j.schemes.Source(from); err == nil {
		j.dst, err = j.schemes.Sink(to)
	}
	if err != nil {
		save()
		return j, err
	}
	j.save = save
	return j, nil
}
