package cliplugin

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/overlay"
)

func (p *program) umountCommand() *cobra.Command {
	var lazy bool
	cmd := &cobra.Command{
		Use:   "umount [OPTIONS] PATH",
		Short: "Take a mounted image apart",
		Long: `Take an image apart that "process … mounts://PATH" has mounted.

Only the mount goes. Layers, and what was changed in the mounted tree (PATH/delta),
stay until PATH is removed; writing the same image to mounts://PATH again mounts
it with those changes.`,
		Example: `  occystrap umount image
  occystrap umount image --lazy`,
		Args: takes("PATH"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := overlay.Unmount(args[0], lazy); err != nil {
				return err
			}
			fmt.Fprintf(p.docker.Err(), "Unmounted %s/rootfs; layers and changes (delta) are still in %[1]s.\n", pipeline.OneLine(args[0]))
			return nil
		},
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().BoolVarP(&lazy, "lazy", "l", false, "Unmount what is in use: it vanishes now, and ends with its last user")
	return cmd
}
