package cliplugin

import (
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/pipeline"
)

func (p *program) saveCommand() *cobra.Command {
	var o processOptions
	var file, ledger, have string
	var split size
	cmd := &cobra.Command{
		Use:   "save [OPTIONS] IMAGE [IMAGE...]",
		Short: "Save images of the daemon to an archive, as docker save does",
		Long: `Save images of the daemon to an archive, as docker save does, by the fastest lane
that there is.

It is "process docker://IMAGE?also=IMAGE,… tar://FILE?ledger=…&split=…", with the
options of process. Layers stay as they are stored; with --ledger, those that were
sent before are left out.`,
		Example: `  docker occystrap save app:1 db:16 -o images.tar
  docker occystrap save app:2 -o delta.tar --ledger site.json --split 4g
  docker occystrap save app:1 | ssh jo@prod.example docker load`,
		Args: takesSome("IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if file == "" && p.docker.Out().IsTerminal() {
				return usage(cmd, "An archive is not written to a terminal; use --output or redirect standard output")
			}
			query := map[string]string{"ledger": ledger, "have": have, "split": split.exact()}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return interruption(ctx, p.process(ctx, cmd, o, imagesURI(args), savedURI(file, query)))
		},
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "Write to a file, instead of standard output")
	cmd.Flags().StringVar(&ledger, "ledger", "", "Leave out what this file records as sent, and record what is sent now")
	cmd.Flags().StringVar(&have, "have", "", "Leave out the layers that this inventory lists")
	cmd.Flags().Var(&split, "split", "Write volumes of this size, FILE.001 and so on")
	o.install(cmd)
	return cmd
}

// imagesURI is the location of images of the daemon.
func imagesURI(images []string) string {
	loc := pipeline.Location{Scheme: "docker", Host: images[0], Query: map[string]string{}}
	if len(images) > 1 {
		loc.Query["also"] = strings.Join(images[1:], ",")
	}
	return loc.String()
}

// savedURI is the location of an archive in a file; "" is standard input or
// output. Options that say nothing are left out.
func savedURI(file string, query map[string]string) string {
	for k, v := range query {
		if v == "" {
			delete(query, k)
		}
	}
	loc := pipeline.Location{Scheme: "tar", Host: "-", Query: query}
	switch {
	case filepath.IsAbs(file):
		loc.Host, loc.Path = "", file
	case file != "": // so that no part of it is taken for a host or a user
		loc.Host, loc.Path = ".", "/"+file
	}
	return loc.String()
}
