// Command demo makes a real container image from files that every machine with
// Go has: the Go tree itself, in three layers, as "docker save" would write it.
//
//	go run ./contrib/demo [-gzip] FILE [NAME:TAG]
//
// Layers are plain tars or, with -gzip, compressed as a registry has them.
//
// The image runs "go version". Modification times are those of the machine, so
// that normalising them has something to do. What happens to the image then is
// in demo.sh.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

func main() {
	image := "occystrap-demo:latest"
	compressed := flag.Bool("gzip", false, "compress the layers")
	flag.Parse()
	switch flag.NArg() {
	case 1:
	case 2:
		image = flag.Arg(1)
	default:
		fmt.Fprintln(os.Stderr, "usage: demo [-gzip] FILE [NAME:TAG]")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), image, *compressed); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

// run makes the image from the Go tree that runs this program.
func run(file, image string, compressed bool) error {
	out, err := exec.CommandContext(context.Background(), "go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("ask go for its tree: %w", err)
	}
	root := strings.TrimSpace(string(out))
	// The parts that change least come first, as in a good Dockerfile.
	layers := [][]string{{"src"}, {"pkg"}, {"bin", "VERSION", "go.env"}}
	return writeImage(file, image, root, layers, compressed)
}
