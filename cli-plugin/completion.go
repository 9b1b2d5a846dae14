package cliplugin

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/pipeline/builtin"
)

// completeEnds completes SOURCE and DESTINATION: schemes, paths of this machine
// and the options of schemes.
func (p *program) completeEnds(_ *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []cobra.Completion
	for _, s := range p.schemes(builtin.Config{}) {
		if source := len(args) == 0; source && s.Source == nil || !source && s.Sink == nil {
			continue
		}
		word := s.Name + "://"
		if strings.HasPrefix(typed, word) {
			return completeURI(s, len(args) == 0, typed)
		}
		if strings.HasPrefix(word, typed) {
			out = append(out, word)
		}
	}
	return out, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

// completeSource completes SOURCE, as completeEnds does.
func (p *program) completeSource(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return p.completeEnds(cmd, args, typed)
}

// completeSources completes two SOURCEs.
func (p *program) completeSources(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	const both = 2
	if len(args) >= both {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return p.completeEnds(cmd, nil, typed)
}

// completeFilters completes the name of a filter and those of its options.
func completeFilters(_ *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var out []cobra.Completion
	name, given, behind := strings.Cut(typed, ":")
	for _, k := range builtin.Filters(builtin.Config{}) {
		if behind && k.Name == name {
			start := len(name) + 1 + strings.LastIndex(given, ",") + 1
			for _, o := range k.Options {
				if strings.HasPrefix(o.Name, typed[start:]) {
					out = append(out, cobra.CompletionWithDesc(typed[:start]+o.Name+"=", o.Help))
				}
			}
		}
		if strings.HasPrefix(k.Name, typed) {
			out = append(out, cobra.CompletionWithDesc(k.Name, k.Help))
		}
	}
	return out, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

// fixed completes one of a few words.
func fixed(words []string) cobra.CompletionFunc {
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
}
