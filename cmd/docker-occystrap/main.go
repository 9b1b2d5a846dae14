// Command docker-occystrap moves container images between registries, daemons
// and archives, and changes them on the way.
//
// Docker runs it as the plugin "docker occystrap"; called by another name, or
// by hand, the same commands stand alone.
package main

import (
	"os"

	"github.com/occystrap/occystrap/cli-plugin"
)

// version is set by the linker: -X main.version=v1.2.3. Empty, the version that
// the Go toolchain recorded stands in.
var version string

func main() {
	os.Exit(cliplugin.Main(version))
}
