package cliplugin

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/pipeline"
)

func (p *program) infoCommand() *cobra.Command {
	var deep bool
	cmd := &cobra.Command{
		Use:   "info [OPTIONS] SOURCE",
		Short: "Show what an image is made of",
		Long: `Show what an image is made of: digests, platforms and attestations, layers with
the instruction that made each, and the container's configuration. No layer is
read.

With --deep the layers are read, to show the files that later layers replace or
delete.`,
		Example: `  occystrap info registry://docker.io/library/busybox:latest
  occystrap info docker://app:1 --deep
  occystrap info tar://app.tar -O json`,
		Args: takes("SOURCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return interruption(ctx, p.runInfo(ctx, cmd, args[0], deep))
		},
		ValidArgsFunction:     p.completeSource,
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().BoolVar(&deep, "deep", false, "Read the layers too, and show what is wasted")
	return cmd
}

func (p *program) runInfo(ctx context.Context, cmd *cobra.Command, from string, deep bool) error {
	var about *inspected
	err := p.reading(cmd, from, func(src pipeline.Source, opts pipeline.Options) (err error) {
		if deep {
			about, err = inspectDeep(ctx, src, opts)
		} else {
			about, err = inspect(ctx, src, opts)
		}
		return err
	})
	if err != nil {
		return err
	}
	write := writeInfo
	if p.options.output.value == outputJSON {
		write = writeInfoJSON
	}
	return write(p.docker.Out(), about)
}
