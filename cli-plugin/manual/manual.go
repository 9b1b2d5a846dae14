// Package manual writes the manual of the command line: a page of Markdown for
// each command, and man pages.
//
//	cliplugin.Tree ─▶ Pages     ─▶ contrib/docs/commands/*.md   (committed)
//	               └▶ ManPages  ─▶ *.1                          (made by make)
//
// What it writes depends on the commands alone: there are no dates, versions or
// names of machines in it. contrib/docs/gen puts it into files.
package manual

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/occystrap/occystrap/cli-plugin"
)

// A Page is one file of the manual.
type Page struct {
	Name string // of the file, without a folder
	Text []byte
}

// walk calls do for a command and all below it, but for those that are no part
// of a manual: help, which is --help, and what shells call.
func walk(cmd *cobra.Command, do func(*cobra.Command)) {
	do(cmd)
	for _, c := range cmd.Commands() {
		if c.Name() != "help" && !strings.HasPrefix(c.Name(), "__") {
			walk(c, do)
		}
	}
}

// deprecated says whether a command is only another word for a newer one.
func deprecated(cmd *cobra.Command) bool { return strings.HasPrefix(cmd.Short, "Deprecated") }

// topic says whether a command only tells something, so that its page is that.
func topic(cmd *cobra.Command) bool { return cmd.Annotations[cliplugin.Topic] != "" }

// listed are the commands below a command that its help lists.
func listed(cmd *cobra.Command) []*cobra.Command {
	var out []*cobra.Command
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			out = append(out, c)
		}
	}
	return out
}

// visible calls do for each option that help lists, but for --help.
func visible(flags *pflag.FlagSet, do func(*pflag.Flag)) {
	flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && f.Name != "help" {
			do(f)
		}
	})
}
