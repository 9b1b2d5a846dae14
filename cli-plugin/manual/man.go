package manual

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// ManPages returns the man pages of a tree, in section 1, but for those of
// deprecated commands: "occystrap-process.1", and "docker-occystrap-process.1",
// which is the same page by the name that Docker's commands have. The language
// is man(7), which every troff and mandoc read.
func ManPages(root *cobra.Command) []Page {
	var pages []Page
	walk(root, func(cmd *cobra.Command) {
		if deprecated(cmd) {
			return
		}
		name := manName(cmd) + ".1"
		pages = append(pages, Page{name, manPage(cmd)}, Page{"docker-" + name, []byte(".so man1/" + name + "\n")})
	})
	return pages
}

func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

func manPage(cmd *cobra.Command) []byte {
	var b bytes.Buffer
	section := func(name string) { fmt.Fprintf(&b, ".SH %s\n", name) }
	fmt.Fprintf(&b, ".TH \"%s\" 1 \"\" \"%s\" \"Container images\"\n.nh\n.ad l\n", roff(strings.ToUpper(manName(cmd))), roff(cmd.Root().Name()))
	section("NAME")
	fmt.Fprintf(&b, "%s \\- %s\n", roff(manName(cmd)), roff(cmd.Short))
	if !topic(cmd) {
		section("SYNOPSIS")
		fmt.Fprintf(&b, "\\fB%s\\fR%s\n", roff(cmd.CommandPath()), roff(strings.TrimPrefix(cmd.UseLine(), cmd.CommandPath())))
	}
	if cmd.Long != "" {
		section("DESCRIPTION")
		b.WriteString(paragraphs(cmd.Long))
	}
	if own := manOptions(cmd.NonInheritedFlags()); own != "" && !topic(cmd) {
		section("OPTIONS")
		b.WriteString(own)
	}
	if cmd.HasParent() && !topic(cmd) {
		b.WriteString(".PP\n\\fB" + roff(cmd.Root().Name()) + "\\fR(1) has the options of all commands, which work here too.\n")
	}
	if cmd.Example != "" {
		section("EXAMPLES")
		b.WriteString(literal(dedent(cmd.Example)))
	}
	if also := seeAlso(cmd); also != "" {
		section("SEE ALSO")
		b.WriteString(also)
	}
	return b.Bytes()
}

// manOptions lists options; "" for none.
func manOptions(flags *pflag.FlagSet) string {
	var b strings.Builder
	visible(flags, func(f *pflag.Flag) {
		name := `\fB` + roff("--"+f.Name) + `\fR`
		if f.Shorthand != "" {
			name = `\fB` + roff("-"+f.Shorthand) + `\fR, ` + name
		}
		if v := valueOf(f); v != "" {
			name += ` \fI` + roff(v) + `\fR`
		}
		_, usage := pflag.UnquoteUsage(f)
		if d := byDefault(f); d != "" {
			usage += " (default: " + strings.Trim(d, "`") + ")"
		}
		fmt.Fprintf(&b, ".TP\n%s\n%s\n", name, roff(usage))
	})
	return b.String()
}

// seeAlso names the commands above and below.
func seeAlso(cmd *cobra.Command) string {
	var pages []string
	add := func(c *cobra.Command) { pages = append(pages, `\fB`+roff(manName(c))+`\fR(1)`) }
	if cmd.HasParent() {
		add(cmd.Parent())
	}
	for _, c := range listed(cmd) {
		add(c)
	}
	if len(pages) == 0 {
		return ""
	}
	return strings.Join(pages, ",\n") + "\n"
}

// paragraphs are help text; what is indented stays as it is.
func paragraphs(s string) string {
	var b strings.Builder
	for p := range strings.SplitSeq(strings.TrimSpace(s), "\n\n") {
		switch {
		case p == "":
		case strings.HasPrefix(p, "\t") || strings.HasPrefix(p, "    "):
			b.WriteString(literal(dedent(strings.ReplaceAll(p, "\t", "    "))))
		default:
			b.WriteString(".PP\n" + roff(strings.TrimLeft(p, "# ")) + "\n") // cobra's own help has headings
		}
	}
	return b.String()
}

// literal is text whose lines stay as they are.
func literal(s string) string { return ".PP\n.RS 4\n.nf\n" + roff(s) + "\n.fi\n.RE\n" }

// roff is text in which nothing is a command of troff: no escapes, no line that
// begins with a control character, and hyphens that can be copied to a shell.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", "\\(ga", "^", `\(ha`, "~", `\(ti`, `"`, `\(dq`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
