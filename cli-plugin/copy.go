package cliplugin

import (
	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
)

func (p *program) copyCommand() *cobra.Command {
	var o processOptions
	var context, host string
	cmd := &cobra.Command{
		Use:   "copy [OPTIONS] IMAGE [IMAGE...]",
		Short: "Copy images of the daemon to another daemon, which gets only what it lacks",
		Long: `Copy images of the daemon to another daemon, which gets only what it lacks, and
needs nothing but Docker. They keep their names.

It is "process docker://IMAGE?also=IMAGE,… docker://?context=NAME" (or ?host=…),
with the options of process. A daemon with containerd's image store pulls from us,
over ssh through a port that ssh leads there; one with a graph driver is sent an
archive without the layers that it has.`,
		Example: `  docker occystrap copy app:1 --to-context prod
  docker occystrap copy app:1 db:16 --to-host ssh://jo@prod.example
  docker --context build occystrap copy app:1 --to-context default`,
		Args: takesSome("IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (context == "") == (host == "") {
				return usage(cmd, "One of --to-context and --to-host says where the images go")
			}
			to := pipeline.Location{Scheme: daemon.SchemeName, Query: map[string]string{"context": context}}
			if host != "" {
				to.Query = map[string]string{"host": host}
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return interruption(ctx, p.process(ctx, cmd, o, imagesURI(args), to.String()))
		},
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().StringVar(&context, "to-context", "", "The Docker context of the daemon that gets the images")
	cmd.Flags().StringVar(&host, "to-host", "", "The address of that daemon: ssh://USER@HOST, tcp://HOST:PORT or unix://PATH")
	o.install(cmd)
	return cmd
}
