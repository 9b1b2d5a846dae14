package cliplugin

import (
	"cmp"
	"os"
	"path"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/pipeline"
)

// onDisk are the schemes whose locations are paths here; true: of directories
// only.
var onDisk = map[string]bool{"tar": false, "dir": true, "oci": true, "mounts": true}

// completeURI completes what follows a scheme: the path, where it is one of this
// machine, and the names of options behind "?". Registries and daemons are not
// asked.
func completeURI(s pipeline.Scheme, source bool, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	const stay = cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	start, rest, _ := strings.Cut(typed, "://")
	if at := strings.LastIndexAny(rest, "?&"); strings.Contains(rest, "?") {
		return completeOptions(s.Options, source, typed[:len(typed)-len(rest)+at+1], rest[at+1:]), stay
	}
	dirsOnly, ok := onDisk[s.Name]
	if !ok {
		return nil, stay
	}
	out := completePath(start+"://", rest, dirsOnly)
	if len(out) == 1 && !strings.HasSuffix(out[0], "/") {
		return out, cobra.ShellCompDirectiveNoFileComp
	}
	return out, stay
}

// completePath lists what a directory has that begins as typed. Names that a URI
// would take for more than a name are left out, hidden ones unless asked for.
func completePath(before, typed string, dirsOnly bool) (out []cobra.Completion) {
	dir, start := path.Split(typed)
	entries, err := os.ReadDir(cmp.Or(dir, "."))
	if err != nil {
		return nil
	}
	for _, e := range entries {
		name := e.Name()
		hidden := strings.HasPrefix(name, ".") && !strings.HasPrefix(start, ".")
		if hidden || !strings.HasPrefix(name, start) || strings.ContainsAny(name, "?#%@") || strings.ContainsFunc(name, unicode.IsControl) {
			continue
		}
		info, err := os.Stat(path.Join(dir, name)) // a link is what it leads to
		if err != nil || dirsOnly && !info.IsDir() {
			continue
		}
		if info.IsDir() {
			name += "/"
		}
		out = append(out, before+dir+name)
	}
	return out
}

func completeOptions(options []pipeline.Option, source bool, before, typed string) (out []cobra.Completion) {
	for _, o := range options {
		fits := o.Source && source || o.Sink && !source
		if fits && strings.HasPrefix(o.Name, typed) {
			out = append(out, cobra.CompletionWithDesc(before+o.Name+"=", o.Help))
		}
	}
	return out
}
