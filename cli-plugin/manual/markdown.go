package manual

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Pages returns a page of Markdown for each command of a tree, and README.md,
// which lists them.
func Pages(root *cobra.Command) []Page {
	pages := []Page{{"README.md", contents(root)}}
	walk(root, func(cmd *cobra.Command) {
		pages = append(pages, Page{fileOf(cmd), page(cmd)})
	})
	return pages
}

// fileOf is the file of a command: "process.md", "cache-ls.md".
func fileOf(cmd *cobra.Command) string {
	path := strings.Fields(cmd.CommandPath())
	if len(path) > 1 {
		path = path[1:]
	}
	return strings.Join(path, "-") + ".md"
}

// contents lists all commands, the deprecated ones by themselves.
func contents(root *cobra.Command) []byte {
	var b, old bytes.Buffer
	b.WriteString("# Commands\n\nMade from the program's own help by `make docs`. As a plugin of Docker every command is `docker " + root.Name() + " …`.\n" +
		"What the options, places and filters mean in full is in [the reference](../reference.md).\n\n")
	b.WriteString("| command | |\n|---|---|\n")
	walk(root, func(cmd *cobra.Command) {
		to := &b
		if deprecated(cmd) {
			to = &old
		}
		fmt.Fprintf(to, "| [`%s`](%s) | %s |\n", cmd.CommandPath(), fileOf(cmd), cell(cmd.Short))
	})
	if old.Len() > 0 {
		b.WriteString("\nOther words for these, from the Python program; each says on standard error how it is written now:\n\n| command | |\n|---|---|\n")
		b.Write(old.Bytes())
	}
	return b.Bytes()
}

// page is what --help says of one command.
func page(cmd *cobra.Command) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n\n", cmd.CommandPath())
	if cmd.Long == "" {
		fmt.Fprintf(&b, "%s.\n\n", strings.TrimSuffix(cmd.Short, "."))
	}
	if !topic(cmd) {
		fmt.Fprintf(&b, "```\n%s\n```\n\n", cmd.UseLine())
	}
	if cmd.Long != "" {
		b.WriteString(prose(cmd.Long))
	}
	if cmd.Example != "" {
		fmt.Fprintf(&b, "## Examples\n\n```sh\n%s\n```\n\n", dedent(cmd.Example))
	}
	below(&b, cmd)
	options(&b, cmd)
	return append(bytes.TrimRight(b.Bytes(), "\n"), '\n')
}

// below lists the commands of a command.
func below(b *bytes.Buffer, cmd *cobra.Command) {
	var rows strings.Builder
	for _, c := range listed(cmd) {
		fmt.Fprintf(&rows, "| [`%s`](%s) | %s |\n", c.CommandPath(), fileOf(c), cell(c.Short))
	}
	if rows.Len() > 0 {
		fmt.Fprintf(b, "## Commands\n\n| command | |\n|---|---|\n%s\n", rows.String())
	}
}

// options lists a command's own options, and says where all the others are.
func options(b *bytes.Buffer, cmd *cobra.Command) {
	if topic(cmd) {
		return // a topic
	}
	if own := table(cmd.NonInheritedFlags()); own != "" {
		fmt.Fprintf(b, "## Options\n\n%s\n", own)
	}
	if cmd.HasParent() {
		fmt.Fprintf(b, "The [options of all commands](%s#options) work too.\n", fileOf(cmd.Root()))
	} else {
		b.WriteString("Called by its own name, the program also takes Docker's `--host`, `--context`, `--config` and `--tls*`.\n")
	}
}

// table lists options; "" for none.
func table(flags *pflag.FlagSet) string {
	var rows strings.Builder
	visible(flags, func(f *pflag.Flag) {
		name := "`--" + f.Name
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		if v := valueOf(f); v != "" {
			name += " " + v
		}
		_, usage := pflag.UnquoteUsage(f)
		fmt.Fprintf(&rows, "| %s` | %s | %s |\n", cell(name), cell(byDefault(f)), cell(usage))
	})
	if rows.Len() == 0 {
		return ""
	}
	return "| option | default | meaning |\n|---|---|---|\n" + rows.String()
}

// valueOf is how a manual names the value of an option; "" for a switch, which
// takes none.
func valueOf(f *pflag.Flag) string {
	kind, _ := pflag.UnquoteUsage(f)
	switch {
	case f.NoOptDefVal != "":
		return ""
	case kind == "string" || kind == "stringArray":
		return "VALUE"
	case kind == "int":
		return "N"
	}
	return strings.ToUpper(kind)
}

// byDefault is the value that counts where an option is left out; "" for none.
func byDefault(f *pflag.Flag) string {
	switch f.DefValue {
	case "", "false", "[]", "0":
		return ""
	}
	return "`" + f.DefValue + "`"
}

// cell keeps text from ending a table's cell.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// prose is help text as Markdown: what is indented is code, as it is in both.
func prose(s string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimSpace(s)) {
		if !strings.HasPrefix(line, "    ") && !strings.HasPrefix(line, "\t") {
			line = strings.NewReplacer(`*`, `\*`, `<`, `\<`).Replace(line)
		}
		b.WriteString(line)
	}
	return b.String() + "\n\n"
}

// dedent takes from all lines the blanks that each begins with.
func dedent(s string) string {
	lines := strings.Split(strings.Trim(s, "\n"), "\n")
	least := len(s)
	for _, l := range lines {
		if text := strings.TrimLeft(l, " "); text != "" {
			least = min(least, len(l)-len(text))
		}
	}
	for i, l := range lines {
		lines[i] = l[min(least, len(l)):]
	}
	return strings.Join(lines, "\n")
}
