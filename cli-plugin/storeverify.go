package cliplugin

import (
	"context"
	"fmt"
	"sync"

	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/sidecar/store"
)

func (p *program) storeVerifyCommand(o *storeOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "verify [OPTIONS]",
		Short: "Read the whole store, and say what is wrong",
		Long: `Read the whole store, and say what is wrong: bytes that do not have their digest,
images that lack something, files that belong to nothing. Nothing is changed, and a
proxy that runs goes on.

The program ends with code 1 when there is a fault.`,
		Example: `  occystrap store verify
  occystrap store verify -O json`,
		Args:                  takes(),
		RunE:                  onStore(o, p.lookForFaults(store.Admin.Verify)),
		DisableFlagsInUseLine: true,
	}
}

func (p *program) storeRepairCommand(o *storeOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "repair [OPTIONS]",
		Short: "Remove what is broken from the store",
		Long: `Remove what is broken from the store, with all that depends on it, and say what that
was. A removed image is pushed or pulled again when it is wanted.`,
		Example:               `  occystrap store repair`,
		Args:                  takes(),
		RunE:                  onStore(o, p.lookForFaults(store.Admin.Repair)),
		DisableFlagsInUseLine: true,
	}
}

// faultList is what programs get.
type faultList struct {
	Path   string        `json:"path"`
	Faults []store.Fault `json:"faults"`
}

// lookForFaults prints faults as they are found. Those that were not mended make the
// command fail.
func (p *program) lookForFaults(look func(store.Admin, context.Context, func(store.Fault)) error) func(context.Context, *cobra.Command, store.Admin, []string) error {
	return func(ctx context.Context, cmd *cobra.Command, a store.Admin, _ []string) error {
		asJSON := p.options.output.value == outputJSON
		list, left := faultList{Path: cmd.Flag("store").Value.String(), Faults: []store.Fault{}}, 0
		var mu sync.Mutex
		err := look(a, ctx, func(f store.Fault) {
			mu.Lock()
			defer mu.Unlock()
			if list.Faults = append(list.Faults, f); !f.Mended {
				left++
			}
			if !asJSON {
				fmt.Fprintf(p.docker.Out(), "%s: %s\n", f.Kind, pipeline.OneLine(f.Text))
			}
		})
		if err != nil {
			return err
		}
		if asJSON {
			err = writeJSON(p.docker.Out(), list)
		} else if err = p.sumUp(ctx, a, len(list.Faults)); err == nil && left > 0 {
			fmt.Fprintln(p.docker.Out(), `"occystrap store repair" removes what is broken.`)
		}
		if err == nil && left > 0 {
			return errFound
		}
		return err
	}
}

func (p *program) sumUp(ctx context.Context, a store.Admin, faults int) error {
	u, err := a.Usage(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.docker.Out(), "%s in %s, %s; %s.\n",
		counted(u.Images, "image", "images"), counted(u.Blobs, "blob", "blobs"), human(u.Bytes), counted(faults, "fault", "faults"))
	return err
}
