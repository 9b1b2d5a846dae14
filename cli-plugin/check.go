package cliplugin

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/builtin"
	"github.com/occystrap/occystrap/pipeline/check"
)

// checkOptions are those that only "check" takes.
type checkOptions struct {
	fast     bool
	failOn   choice
	maxSize  size
	maxWaste waste
}

func (p *program) checkCommand() *cobra.Command {
	var o checkOptions
	cmd := &cobra.Command{
		Use:   "check [OPTIONS] SOURCE",
		Short: "Check that an image is what it says, and safe to unpack",
		Long: `Check manifests, configs and layers of an image: digests, sizes and media types,
the history, and every entry of every layer. Each layer is read once.

The program ends with code 1 when there is an error (--fail-on=warning: or a
warning), and with 0 otherwise.`,
		Example: `  occystrap check docker://app:1
  occystrap check registry://docker.io/library/busybox:latest --fast
  occystrap check tar://app.tar --fail-on=warning --max-size 500m --max-waste 5% -O json`,
		Args: takes("SOURCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return interruption(ctx, p.runCheck(ctx, cmd, o, args[0]))
		},
		ValidArgsFunction:     p.completeSource,
		DisableFlagsInUseLine: true,
	}
	flags := cmd.Flags()
	o.failOn = choice{value: string(check.Error), allowed: words(check.Error, check.Warning)}
	flags.BoolVar(&o.fast, "fast", false, "Check manifests and configs only, and read no layer")
	flags.Var(&o.failOn, "fail-on", "End with code 1 on: error or warning")
	flags.Var(&o.maxSize, "max-size", "Most bytes that an image may have as stored, as 500m")
	flags.Var(&o.maxWaste, "max-waste", "Most bytes that later layers may replace or delete, as 20m or 5%")
	_ = cmd.RegisterFlagCompletionFunc("fail-on", fixed(o.failOn.allowed)) // fails only for flags that do not exist
	return cmd
}

// errFound: the check found what the image must not have. It is printed already.
var errFound = errors.New("the check failed")

func (p *program) runCheck(ctx context.Context, cmd *cobra.Command, o checkOptions, from string) error {
	if o.fast && o.maxWaste.limit.Set {
		return usage(cmd, "--max-waste needs the layers to be read; leave out --fast")
	}
	var report *check.Report
	err := p.reading(cmd, from, func(src pipeline.Source, opts pipeline.Options) (err error) {
		report, err = check.Run(ctx, src, check.Options{
			Fast: o.fast, MaxSize: int64(o.maxSize), MaxWaste: o.maxWaste.limit, Pipeline: opts,
		})
		return err
	})
	if err != nil {
		return err
	}
	write := writeCheck
	if p.options.output.value == outputJSON {
		write = writeCheckJSON
	}
	if err := write(p.docker.Out(), report); err != nil {
		return err
	}
	if report.Count(check.Error) > 0 || o.failOn.value == string(check.Warning) && report.Count(check.Warning) > 0 {
		return errFound
	}
	return nil
}

// reading opens the source that a URI names, shows progress, and ends that
// before results are printed.
func (p *program) reading(cmd *cobra.Command, from string, do func(pipeline.Source, pipeline.Options) error) error {
	show := p.watch()
	defer show.close()
	opts, err := p.options.run(show.event)
	if err != nil {
		return err
	}
	places, err := p.places(cmd, show.event, from, "")
	if err != nil {
		return err
	}
	opts.Elsewhere, opts.OpenURL = builtin.Elsewhere(places), builtin.OpenURL(places)
	src, err := p.schemes(places).Source(from)
	if err != nil {
		return err
	}
	return do(src, opts)
}

// watch is the display for who waits for a result. In a file nobody wants to read
// which layer began when.
func (p *program) watch() display {
	stderr := p.docker.Err()
	_, columns := stderr.GetTtySize()
	shown := p.options
	bars := stderr.IsTerminal() && columns > 0
	if shown.progress.value == progressAuto && !bars {
		shown.progress.value = progressNone
	}
	return newDisplay(stderr, bars, &shown)
}

// waste is a number of bytes, or a part in percent.
type waste struct {
	limit check.Limit
	text  string
}

func (w *waste) Set(s string) error {
	var percent float64
	var rest string
	if n, _ := fmt.Sscanf(s+" ", "%f%s", &percent, &rest); n == 2 && rest == "%" && percent >= 0 && percent <= 100 {
		w.limit, w.text = check.Limit{Set: true, Percent: percent, ByParts: true}, s
		return nil
	}
	if s == "0" {
		w.limit, w.text = check.Limit{Set: true}, s
		return nil
	}
	var z size
	if z.Set(s) != nil {
		return errors.New("it takes a number of bytes, as 20m, or a part, as 5%")
	}
	w.limit, w.text = check.Limit{Set: true, Bytes: int64(z)}, s
	return nil
}

func (w *waste) String() string { return w.text }
func (w *waste) Type() string   { return "bytes or %" }
