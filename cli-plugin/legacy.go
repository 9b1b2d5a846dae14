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
	out := []*cobra.Command{
		p.legacySearch("search-layers", []string{"REGISTRY", "IMAGE", "TAG", "PATTERN"}, registryURI),
		p.legacySearch("search-layers-tarfile", []string{"TARFILE", "PATTERN"}, archiveURI),
		p.legacySearch("search-layers-docker", []string{"IMAGE", "TAG", "PATTERN"}, daemonURI),
	}
	for _, m := range legacyMoves {
		out = append(out, p.legacyMove(m))
	}
	return out
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
			from, pattern := uri(cmd, args), args[len(args)-1]
			now := []string{"search", shownURI(from), pattern}
			for _, flag := range []string{"regex", "script-friendly"} {
				if on, _ := cmd.Flags().GetBool(flag); on {
					now = append(now, "--"+flag)
				}
			}
			p.deprecated(cmd, now...)
			return p.runSearch(cmd, o, from, pattern)
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
func (p *program) deprecated(cmd *cobra.Command, now ...string) {
	for i, w := range now {
		now[i] = shellWord(w)
	}
	fmt.Fprintf(p.docker.Err(), "DeprecationWarning: The command '%s' is deprecated.\nUse: %s %s\n",
		cmd.Name(), cmd.Parent().CommandPath(), strings.Join(now, " "))
}

// shownURI is a URI as it may be shown, and typed: without a password.
func shownURI(uri string) string {
	loc, err := pipeline.ParseLocation(uri)
	if err != nil || loc.User == nil {
		return uri
	}
	return loc.String()
}

// shellWord is a word as a shell takes it.
func shellWord(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-"
	s = pipeline.OneLine(s)
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func registryURI(_ *cobra.Command, args []string) string {
	return "registry://" + args[0] + "/" + withTag(args[1], args[2])
}

func archiveURI(_ *cobra.Command, args []string) string { return fileURI("tar", args[0]) }

func daemonURI(cmd *cobra.Command, args []string) string {
	uri := "docker://" + withTag(args[0], args[1])
	if socket, err := cmd.Flags().GetString("socket"); err == nil && socket != "" {
		uri += "?socket=" + inQuery(socket)
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

// fileURI is a file as a URI: no name is taken for a host or a login.
func fileURI(scheme, name string) string {
	if first, _, _ := strings.Cut(name, "/"); first == "localhost" || strings.Contains(first, "@") {
		name = "./" + name
	}
	return scheme + "://" + strings.NewReplacer("%", "%25", "?", "%3F", "#", "%23").Replace(name)
}

// inQuery is a value as a URI's options have it.
func inQuery(value string) string {
	return strings.NewReplacer("%", "%25", "#", "%23", "&", "%26", "+", "%2B").Replace(value)
}
