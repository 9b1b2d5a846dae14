package cliplugin

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/inventory"
)

func (p *program) inventoryCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "inventory [OPTIONS] DESTINATION",
		Short: "List the layers that a place has, for archives that leave them out",
		Long: `List the layers that a place has: a daemon (docker://, containerd://), all tags of
a repository (registry://), a directory (dir://) or an archive (tar://). A name or
tag in DESTINATION is of no account.

On the other side of an air gap, "process SOURCE tar://delta.tar?have=FILE" writes
an archive without these layers; "process tar://delta.tar DESTINATION" applies it.`,
		Example: `  occystrap inventory docker:// -o have.json
  occystrap inventory 'containerd://?namespace=k8s.io' -o have.json
  occystrap inventory registry://registry.example/inside/app -o have.json
  occystrap inventory dir://images -o have.json`,
		Args: takes("DESTINATION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return interruption(ctx, p.takeInventory(ctx, cmd, args[0], file))
		},
		ValidArgsFunction:     p.completeSource,
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "Write to this file in place of standard output")
	return cmd
}

// takeInventory writes what a place has.
func (p *program) takeInventory(ctx context.Context, cmd *cobra.Command, of, file string) error {
	show := p.watch()
	defer show.close()
	places, err := p.places(cmd, show.event, "dir://.", of)
	if err != nil {
		return err
	}
	place, err := p.schemes(places).Inventor(of)
	if err != nil {
		return err
	}
	inv := &inventory.Inventory{}
	for h, err := range place.Holdings(ctx, p.options.limits()) {
		if err != nil {
			return fmt.Errorf("inventory: %w", err)
		}
		inv.Add(h)
	}
	if file == "" {
		raw, err := inv.Marshal()
		if err != nil {
			return err
		}
		_, err = p.docker.Out().Write(raw)
		return err
	}
	if err := inv.Write(file); err != nil {
		return err
	}
	if !p.options.quiet {
		loc, err := pipeline.ParseLocation(of)
		if err != nil {
			return err
		}
		fmt.Fprintf(p.docker.Err(), "%s has %d layers; they are listed in %s\n", pipeline.OneLine(loc.String()), inv.Len(), pipeline.OneLine(file))
	}
	return nil
}
