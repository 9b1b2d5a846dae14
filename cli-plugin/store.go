package cliplugin

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/sidecar/store"
)

// storeOptions are those of all commands on a store.
type storeOptions struct{ dir string }

func (p *program) storeCommand() *cobra.Command {
	var o storeOptions
	cmd := &cobra.Command{
		Use:   "store COMMAND",
		Short: "Look at the images that a proxy keeps, and clear them up",
		Long: `Look at the images that a proxy keeps, and clear them up. A proxy that runs is asked;
else the store is opened.

An image is named SPACE/REPOSITORY:TAG or SPACE/REPOSITORY@DIGEST, as ls prints it; the
end of the name from a slash on will do where only one image has it.`,
		Example: `  occystrap store ls
  occystrap store pin alpine:3.20
  sudo occystrap store verify --store /var/lib/occystrap-proxy/store`,
		Args:                  unknownCommand,
		RunE:                  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		DisableFlagsInUseLine: true,
	}
	cmd.PersistentFlags().StringVar(&o.dir, "store", "", "Folder of the store (default $XDG_DATA_HOME/occystrap/proxy)")
	cmd.AddCommand(p.storeListCommand(&o), p.storePinCommand(&o), p.storeUnpinCommand(&o), p.storePruneCommand(&o),
		p.storeVerifyCommand(&o), p.storeRepairCommand(&o))
	return cmd
}

// onStore runs a command on a store.
func onStore(o *storeOptions, do func(ctx context.Context, cmd *cobra.Command, a store.Admin, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) (err error) {
		if o.dir == "" {
			if o.dir, err = userStore(os.Getenv); err != nil {
				return err
			}
		}
		ctx, stop := interruptible(cmd.Context())
		defer stop()
		a, err := store.Connect(ctx, o.dir)
		if err != nil {
			return interruption(ctx, err)
		}
		defer func() { err = errors.Join(err, a.Close()) }()
		return interruption(ctx, do(ctx, cmd, a, args))
	}
}

func (p *program) storePinCommand(o *storeOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "pin [OPTIONS] NAME…",
		Short: "Keep images whatever the marks and ages of the store say",
		Long: `Keep images whatever the marks and ages of the store say. A tag stays pinned when it
moves on to another image.`,
		Example: `  occystrap store pin alpine:3.20
  occystrap store pin push/team/app:1.0 push/team/app:1.1`,
		Args:                  takesSome("NAME"),
		RunE:                  onStore(o, p.eachImage("Pinned", store.Admin.Pin)),
		DisableFlagsInUseLine: true,
	}
}

func (p *program) storeUnpinCommand(o *storeOptions) *cobra.Command {
	return &cobra.Command{
		Use:                   "unpin [OPTIONS] NAME…",
		Short:                 "Have pinned images go like others",
		Long:                  "Have pinned images go like others: when they are the longest unused, or too old.",
		Example:               `  occystrap store unpin alpine:3.20`,
		Args:                  takesSome("NAME"),
		RunE:                  onStore(o, p.eachImage("Unpinned", store.Admin.Unpin)),
		DisableFlagsInUseLine: true,
	}
}

// eachImage does something with all images that are named, and says so.
func (p *program) eachImage(done string, do func(store.Admin, context.Context, string) (string, error)) func(context.Context, *cobra.Command, store.Admin, []string) error {
	return func(ctx context.Context, _ *cobra.Command, a store.Admin, args []string) error {
		for _, name := range args {
			full, err := do(a, ctx, name)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(p.docker.Out(), "%s %s.\n", done, pipeline.OneLine(full)); err != nil {
				return err
			}
		}
		return nil
	}
}

func (p *program) storePruneCommand(o *storeOptions) *cobra.Command {
	var all bool
	var most size
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: "Remove images of the store, the longest unused first",
		Long: `Remove images of the store, the longest unused first, until it is small enough, or
all. What is pinned, or was pushed or pulled in the last two minutes, stays. What no
image needs any more goes with them.`,
		Example: `  occystrap store prune --max-size 10g
  occystrap store prune --all`,
		Args: takes(),
		RunE: onStore(o, func(ctx context.Context, cmd *cobra.Command, a store.Admin, _ []string) error {
			if all == (most > 0) {
				return usage(cmd, "Say what to remove, by one of --all and --max-size BYTES")
			}
			c, err := a.Prune(ctx, int64(most))
			if err != nil {
				return err
			}
			return p.pruned(ctx, a, c, int64(most))
		}),
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().BoolVar(&all, "all", false, "Remove all that is not pinned or in use")
	cmd.Flags().Var(&most, "max-size", "Remove the longest unused until the store has no more than these bytes, as 10g")
	return cmd
}

// pruned says what was removed and, where that is not enough, why more was not. Most are the
// bytes that were to be left.
func (p *program) pruned(ctx context.Context, a store.Admin, c store.Collected, most int64) error {
	_, err := fmt.Fprintf(p.docker.Out(), "Removed %s and %s; %s are free again.\n",
		counted(c.Images, "image", "images"), counted(c.Uploads, "upload", "uploads"), human(c.Bytes))
	if err != nil {
		return err
	}
	u, err := a.Usage(ctx)
	if err == nil && u.Images > 0 && u.Bytes > most {
		_, err = fmt.Fprintf(p.docker.Out(), "%s with %s stay: pinned, or pushed or pulled in the last %s.\n",
			counted(u.Images, "image", "images"), human(u.Bytes), duration(store.Grace))
	}
	return err
}
