package cliplugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/cli/cli-plugins/metadata"
	"github.com/docker/cli/cli-plugins/plugin"
	"github.com/docker/cli/cli/command"
	cliflags "github.com/docker/cli/cli/flags"
	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/pipeline"
)

// standAloneName is the program's name when it is no plugin.
const standAloneName = "occystrap"

// The exit codes of the program.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitAnswer = 3 // with --exit-code: search found nothing, diff found something
)

// program is one run of the command line.
type program struct {
	docker  *command.DockerCli
	version string
	extra   []pipeline.Scheme
	options options
	results *results // where filters print to
	// prepare connects the command to Docker's configuration.
	prepare func(cmd *cobra.Command, args []string) error
}

// Main runs the command line of this process and returns its exit code. Version
// is what the linker set, "" for none; extra are schemes beyond those of
// pipeline/builtin.
func Main(version string, extra ...pipeline.Scheme) int {
	p := &program{version: version, extra: extra}
	docker, err := command.NewDockerCli(command.WithUserAgent(p.userAgent()))
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error: "+oneError(err))
		return exitFailed
	}
	p.docker = docker
	root := p.root()
	if standAlone() {
		err = p.runAlone(root)
	} else {
		// The hook exists only once RunPlugin has been called.
		p.prepare = func(cmd *cobra.Command, args []string) error { return plugin.PersistentPreRunE(cmd, args) }
		err = plugin.RunPlugin(docker, root, p.metadata())
	}
	return exitCode(docker.Err(), root, err)
}

// standAlone says whether the program was called by hand. Docker's environment
// reaches every process below a plugin, so our own name counts before it.
func standAlone() bool {
	name := strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")
	return name == standAloneName || plugin.RunningStandalone()
}

// metadata is what "docker help" and "docker info" ask every plugin for.
func (p *program) metadata() metadata.Metadata {
	return metadata.Metadata{
		SchemaVersion:    "0.1.0",
		Vendor:           "Occystrap",
		Version:          p.build().Version,
		ShortDescription: shortHelp,
		URL:              homepage,
	}
}

// runAlone runs the tree without Docker's command line around it. The options
// that say where the daemon is are Docker's own.
func (p *program) runAlone(root *cobra.Command) error {
	client := cliflags.NewClientOptions()
	addDockerFlags(root, client)
	p.prepare = func(cmd *cobra.Command, _ []string) error {
		client.SetDefaultOptions(cmd.Flags())
		return p.docker.Initialize(client)
	}
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.HiddenDefaultCmd = false // as a plugin, Docker has it
	addOwnCommands(root)
	root.SetUsageTemplate(aloneUsage(root.UsageTemplate()))
	root.SetIn(p.docker.In())
	root.SetOut(p.docker.Out())
	root.SetErr(p.docker.Err())
	return root.ExecuteContext(context.Background())
}

// aloneUsage is cobra's template without its second line for a command that has
// others: our first one says it.
func aloneUsage(template string) string {
	template = strings.Replace(template, "{{if .HasAvailableSubCommands}}\n  {{.CommandPath}}", "{{if and .HasAvailableSubCommands (not .Runnable)}}\n  {{.CommandPath}}", 1)
	return strings.ReplaceAll(template, "[command]", "COMMAND")
}

// exitCode reports err, if any, and returns the code to exit with.
func exitCode(stderr io.Writer, root *cobra.Command, err error) int {
	var usage *usageError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errFound):
		return exitFailed
	case errors.Is(err, errNothing), errors.Is(err, errDiffer):
		return exitAnswer
	case errors.Is(err, errInterrupted):
		fmt.Fprintln(stderr, "Aborted!")
		return exitFailed
	case errors.As(err, &usage):
	case isFlagError(err):
		usage = &usageError{cmd: root, message: flagMessage(root, err)}
	default:
		fmt.Fprintln(stderr, "Error: "+oneError(err))
		return exitFailed
	}
	fmt.Fprintf(stderr, "Usage:  %s\nTry '%s --help' for help.\n\nError: %s\n",
		usage.cmd.UseLine(), usage.cmd.CommandPath(), pipeline.OneLine(usage.message))
	return exitUsage
}
