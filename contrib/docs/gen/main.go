// Command gen writes the manual from the tree of commands: Markdown pages, or
// man pages with -man. "make docs" calls it.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/occystrap/occystrap/cli-plugin"
	"github.com/occystrap/occystrap/cli-plugin/manual"
)

func main() {
	man := flag.Bool("man", false, "write man pages")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: gen [-man] DIR")
		os.Exit(2)
	}
	if err := write(flag.Arg(0), *man); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// write makes the folder have the pages of today, and no others.
func write(dir string, man bool) error {
	pages, ext := manual.Pages(cliplugin.Tree()), "*.md"
	if man {
		pages, ext = manual.ManPages(cliplugin.Tree()), "*.1"
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a manual is for everybody
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, ext))
	if err != nil {
		return err
	}
	for _, f := range old {
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	for _, p := range pages {
		if err := os.WriteFile(filepath.Join(dir, p.Name), p.Text, 0o644); err != nil { //nolint:gosec // a manual is for everybody
			return err
		}
	}
	return nil
}
