package cliplugin

import (
	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/pipeline"
)

// Tree returns all commands as the program has them when it is called as
// "occystrap", hidden ones included, for who writes manuals. Nothing in it
// depends on the machine or its environment, and it cannot be run. Docker's own
// options, whose defaults are paths on this machine, are left out. Extra are
// schemes beyond those of pipeline/builtin.
func Tree(extra ...pipeline.Scheme) *cobra.Command {
	root := (&program{extra: extra}).root()
	addOwnCommands(root)
	return root
}

// addOwnCommands adds what cobra does for a program that is no plugin: help and
// completion. A name that they do not know is a mistake to them as well: what
// "completion" prints goes into a shell.
func addOwnCommands(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Args = func(_ *cobra.Command, args []string) error {
				found, rest, err := root.Find(args)
				if err != nil || !found.HasSubCommands() {
					return err
				}
				return unknownCommand(found, rest)
			}
		case "completion":
			c.Use += " COMMAND"
			c.DisableFlagsInUseLine = true
			c.Args = unknownCommand
			c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
}
