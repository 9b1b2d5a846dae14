package cliplugin

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build says which program this is.
type build struct {
	Version      string `json:"version"`
	Commit       string `json:"commit,omitempty"`
	GoVersion    string `json:"goVersion"`
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	// Sidecar is set by the command version alone.
	Sidecar *sidecar `json:"sidecar,omitempty"`
}

// build takes the version that the linker set, else what the Go toolchain
// recorded.
func (p *program) build() build {
	b := build{Version: p.version, GoVersion: runtime.Version(), OS: runtime.GOOS, Architecture: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b.named()
	}
	if b.Version == "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Commit = s.Value
		}
	}
	return b.named()
}

func (b build) named() build {
	if b.Version == "" || b.Version == "(devel)" {
		b.Version = "devel"
	}
	return b
}

// userAgent is how we name ourselves to registries and daemons.
func (p *program) userAgent() string {
	return standAloneName + "/" + p.build().Version + " (+" + homepage + ")"
}

func (p *program) versionCommand() *cobra.Command {
	format := choice{value: "text", allowed: []string{"text", "json"}}
	cmd := &cobra.Command{
		Use:   "version [OPTIONS]",
		Short: "Show the version, and that of the sidecar",
		Example: `  occystrap version
  occystrap version --format json`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, out := p.build(), cmd.OutOrStdout()
			b.Sidecar = p.sidecar(cmd.Context())
			if format.value == "json" {
				enc := json.NewEncoder(out)
				enc.SetIndent("", "  ")
				return enc.Encode(b)
			}
			_, err := fmt.Fprintf(out, "%s %s\n%s %s/%s\n%s", standAloneName, b.Version, b.GoVersion, b.OS, b.Architecture, b.Sidecar)
			return err
		},
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().Var(&format, "format", "How to print it: text or json")
	return cmd
}
