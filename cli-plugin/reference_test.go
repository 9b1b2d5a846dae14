package cliplugin

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/occystrap/occystrap/pipeline/builtin"
	"github.com/occystrap/occystrap/pipeline/check"
)

// What the reference leaves out, nobody finds. The tree of commands has no
// exported name, so this is inside the package.
func TestTheReferenceNamesEverything(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../contrib/docs/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	reference := string(text)
	named := func(what, word string) {
		if !strings.Contains(reference, word) {
			t.Errorf("reference.md does not name the %s %s", what, word)
		}
	}
	root := (&program{}).root()
	root.PersistentFlags().VisitAll(func(f *pflag.Flag) { named("option", "--"+f.Name) })
	var below func(c *cobra.Command, prefix string)
	below = func(c *cobra.Command, prefix string) {
		for _, c := range c.Commands() {
			named("command", prefix+c.Name())
			c.LocalFlags().VisitAll(func(f *pflag.Flag) { named("option", "--"+f.Name) })
			below(c, prefix+c.Name()+" ")
		}
	}
	below(root, "`")
	named("variable", configVariable)
	named("variable", containerdAddress)
	named("variable", containerdNamespace)
	for _, variable := range environment {
		named("variable", variable)
	}
	for _, s := range (&program{}).schemes(builtin.Config{}) {
		named("scheme", s.Name+"://")
		for _, o := range s.Options {
			named("option of "+s.Name, "`"+o.Name+"`")
		}
	}
	for _, c := range check.Checks {
		named("check", "| `"+c.ID+"` | "+string(c.Severity)+" |")
	}
	for _, k := range builtin.Filters(builtin.Config{}) {
		named("filter", "### `"+k.Name+"`")
		for _, o := range k.Options {
			named("option of "+k.Name, "`"+o.Name+"`")
		}
	}
}

// The README is the first page, and often the only one, that is read.
func TestTheReadmeListsCommandsSchemesAndFilters(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := func(what, word string) {
		if !strings.Contains(string(text), word) {
			t.Errorf("README.md does not list the %s: no %q", what, word)
		}
	}
	for _, c := range (&program{}).root().Commands() {
		if c.IsAvailableCommand() && c.Name() != "version" {
			listed("command", "commands/"+c.Name()+".md")
		}
	}
	for _, s := range (&program{}).schemes(builtin.Config{}) {
		listed("scheme", "`"+s.Name+"://")
	}
	for _, k := range builtin.Filters(builtin.Config{}) {
		if !regexp.MustCompile("`" + k.Name + "[`:[]").Match(text) {
			t.Errorf("README.md does not list the filter %s", k.Name)
		}
	}
}
