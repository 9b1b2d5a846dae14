package cliplugin

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/builtin"
)

// Topic is the annotation of commands that do nothing but tell something.
const Topic = "topic"

// topics are commands that only tell something. What they tell is made of what
// filters and schemes say of themselves.
func (p *program) topics() []*cobra.Command {
	var filters, uris strings.Builder
	for _, k := range builtin.Filters(builtin.Config{}) {
		entry(&filters, k.Name, k.Help, k.Options, false)
	}
	for _, s := range p.schemes(builtin.Config{}) {
		entry(&uris, s.Name+"://", ends(s.Source != nil, s.Sink != nil), s.Options, true)
	}
	topics := []*cobra.Command{
		{
			Use:   "filters",
			Short: "What --filter takes",
			Long: `A filter is NAME:option=value,option=value. The first --filter sees the image
first. A piece without "=" continues the value before it, comma included.

` + filters.String(),
			Example: `  occystrap process tar://in.tar tar://out.tar -f normalize-timestamps:config=true -f 'exclude:pattern=**/.git/**,**/*.pyc'
  occystrap process docker://app:1 registry://registry.example/app:1 -f deny:secrets=true,user=root
  occystrap process tar://in.tar tar://out.tar -f 'config:env=TZ=UTC,unset-env=*PROXY*,user=1000'`,
		},
		{
			Use:   "uris",
			Short: "What SOURCE and DESTINATION are, and their options",
			Long: `A place is SCHEME://PATH?option=value&option=value. Paths are relative to the
working directory, or absolute, as tar:///tmp/x.tar; tar://- is standard input
or output.

` + uris.String(),
			Example: `  occystrap process registry://docker.io/library/busybox:latest 'dir://images?unique_names=true&expand=true'
  occystrap process 'tar://many.tar?image=app:1' 'docker://app:1?socket=/run/other.sock'
  occystrap info 'registry://registry.example/app:1?os=linux&arch=arm64'`,
		},
	}
	for _, t := range topics {
		t.DisableFlagsInUseLine, t.Args = true, takes()
		t.Annotations = map[string]string{Topic: "true"}
		t.RunE = func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), strings.TrimRight(cmd.Long, "\n"))
			return err
		}
	}
	return topics
}

// placeNames lists the schemes, for a sentence.
func (p *program) placeNames() string {
	var names []string
	for _, s := range p.schemes(builtin.Config{}) {
		names = append(names, s.Name+"://")
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// ends says at which ends a scheme may stand.
func ends(source, sink bool) string {
	switch {
	case !sink:
		return "as a source"
	case !source:
		return "as a destination"
	}
	return "as a source and as a destination"
}

// entry describes a filter or scheme in lines that stay as they are; atEnds: its
// options may have a meaning at one end only.
func entry(b *strings.Builder, name, help string, options []pipeline.Option, atEnds bool) {
	fmt.Fprintf(b, "    %s\n        %s\n", name, help)
	width := 0
	for _, o := range options {
		width = max(width, len(o.Name))
	}
	for _, o := range options {
		at := ""
		if atEnds && o.Source != o.Sink {
			at = " (" + ends(o.Source, o.Sink) + ")"
		}
		fold(b, fmt.Sprintf("        %-*s  ", width, o.Name), o.Help+at)
	}
	b.WriteString("\n")
}

// fold writes text behind a label, in lines that fit a terminal.
func fold(b *strings.Builder, label, text string) {
	const columns = 79
	line := label
	for word := range strings.FieldsSeq(text) {
		if len(line)+len(word) > columns && strings.TrimSpace(line) != "" && line != label {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = strings.Repeat(" ", len(label))
		}
		line += word + " "
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
}
