package cliplugin

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// A legacyMove is process with both ends in parts, and with options in place of
// filters and of what a URI says.
type legacyMove struct {
	name string
	args []string
	// short: without the first argument the image is one of Docker Hub's.
	short bool
	from  func(cmd *cobra.Command, args []string) string
	// to gets the last argument.
	to func(cmd *cobra.Command, path string) string
	// options installs those that only some of the commands have.
	options []func(*cobra.Command)
}

// dockerHub is the registry of the commands that name none.
const dockerHub = "docker.io"

var legacyMoves = []legacyMove{
	{
		name: "fetch-to-tarfile", args: []string{"REGISTRY", "IMAGE", "TAG", "TARFILE"}, short: true,
		from: registryURI, to: toArchive, options: []func(*cobra.Command){addTimestamps},
	},
	{
		name: "fetch-to-extracted", args: []string{"REGISTRY", "IMAGE", "TAG", "PATH"},
		from: registryURI, to: toDirectory, options: []func(*cobra.Command){addLayout},
	},
	{name: "fetch-to-oci", args: []string{"REGISTRY", "IMAGE", "TAG", "PATH"}, from: registryURI, to: toBundle},
	{name: "fetch-to-mounts", args: []string{"REGISTRY", "IMAGE", "TAG", "PATH"}, from: registryURI, to: toMounts},
	{
		name: "tarfile-to-extracted", args: []string{"TARFILE", "PATH"},
		from: archiveURI, to: toDirectory, options: []func(*cobra.Command){addLayout},
	},
	{
		name: "docker-to-tarfile", args: []string{"IMAGE", "TAG", "TARFILE"},
		from: daemonURI, to: toArchive, options: []func(*cobra.Command){addSocket, addTimestamps},
	},
	{
		name: "docker-to-extracted", args: []string{"IMAGE", "TAG", "PATH"},
		from: daemonURI, to: toDirectory, options: []func(*cobra.Command){addSocket, addLayout},
	},
	{
		name: "docker-to-oci", args: []string{"IMAGE", "TAG", "PATH"},
		from: daemonURI, to: toBundle, options: []func(*cobra.Command){addSocket},
	},
	{
		name: "recreate-image", args: []string{"PATH", "IMAGE", "TAG", "TARFILE"},
		from: directoryURI, to: toArchive, options: []func(*cobra.Command){addTimestamps},
	},
}

func (p *program) legacyMove(m legacyMove) *cobra.Command {
	cmd := &cobra.Command{
		Use:    m.name + " [OPTIONS] " + strings.Join(m.args, " "),
		Short:  "Deprecated: use process",
		Hidden: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if m.short && len(args) == len(m.args)-1 {
				return nil
			}
			return takes(m.args...)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) < len(m.args) {
				args = append([]string{dockerHub}, args...)
			}
			return p.runLegacyMove(cmd, m.from(cmd, args), m.to(cmd, args[len(args)-1]))
		},
		DisableFlagsInUseLine: true,
	}
	for _, install := range m.options {
		install(cmd)
	}
	return cmd
}

// runLegacyMove says how the command is written now, and does that.
func (p *program) runLegacyMove(cmd *cobra.Command, from, to string) error {
	o := processOptions{chain: chain{specs: legacyFilters(cmd)}}
	now := []string{"process", shownURI(from), shownURI(to)}
	for _, f := range o.chain.specs {
		now = append(now, "-f", f)
	}
	p.deprecated(cmd, now...)
	if cmd.Flags().Changed("timestamp") && len(o.chain.specs) == 0 {
		fmt.Fprintln(p.docker.Err(), "Warning: --timestamp does nothing without --normalize-timestamps; give both")
	}
	ctx, stop := interruptible(cmd.Context())
	defer stop()
	return interruption(ctx, p.process(ctx, cmd, o, from, to))
}

// legacyFilters are those that the options stand for.
func legacyFilters(cmd *cobra.Command) []string {
	if on, err := cmd.Flags().GetBool("normalize-timestamps"); err != nil || !on {
		return nil
	}
	if at, err := cmd.Flags().GetInt64("timestamp"); err == nil && cmd.Flags().Changed("timestamp") {
		return []string{"normalize-timestamps:ts=" + strconv.FormatInt(at, 10)}
	}
	return []string{"normalize-timestamps"}
}

func addTimestamps(cmd *cobra.Command) {
	cmd.Flags().Bool("normalize-timestamps", false, "Give all files in layers one time")
	cmd.Flags().Int64("timestamp", 0, "The time for --normalize-timestamps, in seconds since 1970")
}

func addLayout(cmd *cobra.Command) {
	cmd.Flags().Bool("use-unique-names", false, "Write a manifest file for each image")
	cmd.Flags().Bool("expand", false, "Also unpack the image's file system")
}

func addSocket(cmd *cobra.Command) {
	cmd.Flags().String("socket", "", "Socket of the daemon")
}

func directoryURI(_ *cobra.Command, args []string) string {
	return fileURI("dir", args[0]) + "?image=" + inQuery(withTag(args[1], args[2]))
}

func toArchive(_ *cobra.Command, path string) string { return fileURI("tar", path) }
func toBundle(_ *cobra.Command, path string) string  { return fileURI("oci", path) }
func toMounts(_ *cobra.Command, path string) string  { return fileURI("mounts", path) }

func toDirectory(cmd *cobra.Command, path string) string {
	var options []string
	for _, o := range []struct{ flag, option string }{{"use-unique-names", "unique_names=true"}, {"expand", "expand=true"}} {
		if on, err := cmd.Flags().GetBool(o.flag); err == nil && on {
			options = append(options, o.option)
		}
	}
	uri := fileURI("dir", path)
	if len(options) > 0 {
		uri += "?" + strings.Join(options, "&")
	}
	return uri
}
