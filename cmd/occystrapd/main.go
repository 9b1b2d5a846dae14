// Command occystrapd is what runs beside Docker or containerd: one daemon for
// each subcommand, started by systemd (contrib/systemd). "occystrapd lanes" lends
// image files to members of a group.
package main

import (
	"cmp"
	"os"
	"runtime/debug"

	"github.com/occystrap/occystrap/sidecar"
)

// version is set by the linker: -X main.version=v1.2.3. Empty, the version that
// the Go toolchain recorded stands in.
var version string

func main() {
	if info, ok := debug.ReadBuildInfo(); ok {
		version = cmp.Or(version, info.Main.Version)
	}
	os.Exit(sidecar.Main(version, os.Args[1:], os.Stdout, os.Stderr))
}
