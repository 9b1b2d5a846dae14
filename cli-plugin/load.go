package cliplugin

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/pipeline"
)

func (p *program) loadCommand() *cobra.Command {
	var o processOptions
	var file, namespace string
	cmd := &cobra.Command{
		Use:   "load [OPTIONS]",
		Short: "Load images of an archive into the daemon, as docker load does",
		Long: `Load images of an archive into the daemon, as docker load does, by the fastest lane
that there is. Archives of all tools are read, compressed or not, and those in
volumes; of a partial one, the daemon must have what was left out.

It is "process tar://FILE docker://", with the options of process; with
--containerd, "process tar://FILE containerd://?namespace=NAMESPACE".`,
		Example: `  docker occystrap load -i images.tar
  docker occystrap load -i images.tar --containerd k8s.io
  ssh jo@build.example docker save app:1 | docker occystrap load`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" && p.docker.In().IsTerminal() {
				return usage(cmd, "An archive is not read from a terminal; use --input or redirect standard input")
			}
			to := pipeline.Location{Scheme: "docker"}
			if namespace != "" {
				to = pipeline.Location{Scheme: "containerd", Query: map[string]string{"namespace": namespace}}
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return interruption(ctx, p.load(ctx, cmd, o, savedURI(file, nil), to.String()))
		},
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().StringVarP(&file, "input", "i", "", "Read from a file, instead of standard input")
	cmd.Flags().StringVar(&namespace, "containerd", "", "Load into this namespace of containerd, instead of the daemon")
	o.install(cmd)
	return cmd
}

// load says what it loaded in Docker's words.
func (p *program) load(ctx context.Context, cmd *cobra.Command, o processOptions, from, to string) error {
	done, err := p.processed(ctx, cmd, o, from, to)
	if err != nil || p.options.output.value == outputJSON {
		return err
	}
	for _, r := range done.Roots {
		for _, n := range r.Names {
			fmt.Fprintf(p.docker.Out(), "Loaded image: %s\n", pipeline.OneLine(familiar(n)))
		}
		if len(r.Names) == 0 {
			fmt.Fprintf(p.docker.Out(), "Loaded image ID: %s\n", r.Manifest.Digest)
		}
	}
	return nil
}
