package cliplugin

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/pipeline"
)

// The commands that the original calls deprecated go on to work, as other words
// for the new ones. Help does not list them.
func (p *program) legacyCommands() []*cobra.Command {
	return []*cobra.Command{
		p.legacySearch("search-layers", []string{"REGISTRY", "IMAGE", "TAG", "PATTERN"}, registryURI),
		p.legacySearch("search-layers-tarfile", []string{"TARFILE", "PATTERN"}, archiveURI),
		p.legacySearch("search-layers-docker", []string{"IMAGE", "TAG", "PATTERN"}, daemonURI),
	}
}

// legacySearch is search with the source in parts, which uri puts together.
func (p *program) legacySearch(name string, args []string, uri func(cmd *cobra.Command, args []string) string) *cobra.Command {
	var o searchOptions
	cmd := &cobra.Command{
		Use:    name + " [OPTIONS] " + strings.Join(args, " "),
		Short:  "Deprecated: use search",
		Hidden: true,
		Args:   takes(args...),
		RunE: func(cmd *cobra.Command, args []string) error {
			from := uri(cmd, args)
			p.deprecated(cmd, "search", from, "PATTERN")
			return p.runSearch(cmd, o, from, args[len(args)-1])
		},
		DisableFlagsInUseLine: true,
	}
	o.install(cmd)
	if name == "search-layers-docker" {
		cmd.Flags().String("socket", "", "Socket of the daemon")
	}
	return cmd
}

// deprecated tells how the command is written now.
func (p *program) deprecated(cmd *cobra.Command, now, from string, rest ...string) {
	if loc, err := pipeline.ParseLocation(from); err == nil {
		from = loc.String() // without a password
	}
	fmt.Fprintf(p.docker.Err(), "DeprecationWarning: The command '%s' is deprecated.\nUse: %s %s %s %s\n",
		cmd.Name(), cmd.Parent().CommandPath(), now, oneLine(from), strings.Join(rest, " "))
}

func registryURI(_ *cobra.Command, args []string) string {
	return "registry://" + args[0] + "/" + withTag(args[1], args[2])
}

func archiveURI(_ *cobra.Command, args []string) string { return "tar://" + escaped(args[0]) }

func daemonURI(cmd *cobra.Command, args []string) string {
	uri := "docker://" + withTag(args[0], args[1])
	if socket, err := cmd.Flags().GetString("socket"); err == nil && socket != "" {
		uri += "?socket=" + escaped(socket)
	}
	return uri
}

// withTag puts a name and a tag together, which may be a digest.
func withTag(name, tag string) string {
	if digest.Digest(tag).Validate() == nil {
		return name + "@" + tag
	}
	return name + ":" + tag
}

// escaped is a file's name as a part of a URI.
func escaped(name string) string {
	return strings.NewReplacer("%", "%25", "?", "%3F", "#", "%23", "&", "%26", "+", "%2B").Replace(name)
}
