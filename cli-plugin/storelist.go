package cliplugin

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/sidecar/store"
)

func (p *program) storeListCommand(o *storeOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "ls [OPTIONS]",
		Short: "List the images of the store",
		Long: `List the images of the store by name, with the bytes of all that belongs to each (images
may share them), and when it was last pushed or pulled.`,
		Example: `  occystrap store ls
  occystrap store ls -O json`,
		Args: takes(),
		RunE: onStore(o, func(ctx context.Context, _ *cobra.Command, a store.Admin, _ []string) error {
			content := storeContent{Path: o.dir}
			var err error
			if content.Usage, err = a.Usage(ctx); err != nil {
				return err
			}
			if content.Images, err = a.List(ctx); err != nil {
				return err
			}
			if p.options.output.value == outputJSON {
				return writeJSON(p.docker.Out(), content)
			}
			return writeStore(p.docker.Out(), content, time.Now())
		}),
		DisableFlagsInUseLine: true,
	}
}

// storeContent is the list for programs.
type storeContent struct {
	Path   string       `json:"path"`
	Usage  store.Usage  `json:"usage"`
	Images []store.Item `json:"images"`
}

// writeStore is the list for people: a line for each name.
func writeStore(w io.Writer, c storeContent, now time.Time) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "IMAGE\tDIGEST\tSIZE\tUSED\tPINNED")
	for _, i := range c.Images {
		names := i.Names()
		if len(i.Tags) > 0 {
			names = names[:len(i.Tags)]
		}
		pinned := ""
		if i.Pinned {
			pinned = "yes"
		}
		for _, name := range names {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", pipeline.OneLine(name), shortDigest(i.Digest), human(i.Size), since(i.Used, now), pinned)
		}
	}
	if len(c.Images) > 0 {
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	mark := ""
	if c.Usage.High > 0 {
		mark = " of " + human(c.Usage.High)
	}
	_, err := fmt.Fprintf(w, "%s in %s; %s%s on disk.\n",
		counted(c.Usage.Images, "image", "images"), counted(c.Usage.Repositories, "repository", "repositories"), human(c.Usage.Bytes), mark)
	return err
}
