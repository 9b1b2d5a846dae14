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
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	return root
}
