package cliplugin

import (
	"errors"

	cliflags "github.com/docker/cli/cli/flags"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const (
	homepage  = "https://github.com/occystrap/occystrap"
	shortHelp = "Move container images and change them on the way"
)

// root is the tree of commands. Docker hangs it below "docker"; alone it is the
// root itself.
func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   standAloneName + " [OPTIONS] COMMAND",
		Short: shortHelp,
		Long: shortHelp + `.

Images are read from and written to ` + p.placeNames() + `.
The commands uris and filters tell of these, and of filters, with all options.

Defaults of options come from $XDG_CONFIG_HOME/occystrap/config.toml, or the file
that $OCCYSTRAP_CONFIG names.`,
		Example: `  occystrap process docker://app:1 registry://registry.example/app:1
  occystrap info registry://docker.io/library/busybox:latest
  occystrap search tar://app.tar '*.pem'`,
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, args []string) error {
			if err := p.prepare(cmd, args); err != nil {
				return err
			}
			return p.settle(cmd)
		},
		SilenceErrors:         true,
		SilenceUsage:          true,
		DisableFlagsInUseLine: true,
		CompletionOptions:     cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if errors.Is(err, pflag.ErrHelp) {
			return err
		}
		return &usageError{cmd: cmd, message: flagMessage(cmd, err)}
	})
	p.options.install(root.PersistentFlags())
	// Docker's root looks for the command's name among the arguments before
	// cobra merges persistent flags: "--verbose process" would lose "process".
	root.LocalFlags()
	for name, c := range p.options.choices() {
		_ = root.RegisterFlagCompletionFunc(name, fixed(c.allowed)) // fails only for flags that do not exist
	}
	root.AddCommand(p.processCommand(), p.planCommand(), p.searchCommand(), p.infoCommand(), p.checkCommand(), p.diffCommand(), p.saveCommand(), p.loadCommand(), p.copyCommand(), p.proxyCommand(), p.inventoryCommand(), p.umountCommand(), p.versionCommand())
	root.AddCommand(p.cacheCommand(), p.storeCommand())
	root.AddCommand(p.legacyCommands()...)
	root.AddCommand(p.topics()...)
	return root
}

// addDockerFlags gives the stand-alone program those of Docker's own options
// that say where the daemon is.
func addDockerFlags(root *cobra.Command, client *cliflags.ClientOptions) {
	docker := pflag.NewFlagSet("docker", pflag.ContinueOnError)
	client.InstallFlags(docker)
	docker.VisitAll(func(f *pflag.Flag) {
		if f.Name != "debug" && f.Name != "log-level" {
			root.PersistentFlags().AddFlag(f)
		}
	})
	client.LogLevel = "info"
}
