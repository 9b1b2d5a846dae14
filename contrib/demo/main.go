// Command demo makes a real container image from files that every machine with
// Go has: the Go tree itself, in three layers, as "docker save" would write it.
//
//	go run ./contrib/demo FILE [NAME:TAG]
//
// The image runs "go version". Modification times are those of the machine, so
// that normalising them has something to do. What happens to the image then is
// in demo.sh.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

func main() {
	image := "occystrap-demo:latest"
	switch len(os.Args) {
	case 2:
	case 3:
		image = os.Args[2]
	default:
		fmt.Fprintln(os.Stderr, "usage: demo FILE [NAME:TAG]")
		os.Exit(2)
	}
	if err := run(os.Args[1], image); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

// run makes the image from the Go tree that runs this program.
func run(file, image string) error {
	out, err := exec.CommandContext(context.Background(), "go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("ask go for its tree: %w", err)
	}
	root := strings.TrimSpace(string(out))
	// The parts that change least come first, as in a good Dockerfile.
	layers := [][]string{{"src"}, {"pkg"}, {"bin", "VERSION", "go.env"}}
	return writeImage(file, image, root, layers)
}
