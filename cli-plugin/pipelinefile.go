package cliplugin

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/pipeline"
)

// A chain is what --filter and --pipeline give a command: the filters of the
// file, then those of the command line.
type chain struct {
	specs []string
	file  string
	// fromFile is set before the command runs, when options get their values.
	fromFile []fileFilter
}

// install adds the options to a command that takes filters.
func (c *chain) install(cmd *cobra.Command) {
	// Not a StringSlice: filters have commas of their own.
	cmd.Flags().StringArrayVarP(&c.specs, "filter", "f", nil, "Filter to apply, as NAME:option=value,option=value; repeatable")
	cmd.Flags().Var((*chainFile)(c), "pipeline", "TOML file with filters and options; its filters come before those of --filter")
	_ = cmd.RegisterFlagCompletionFunc("filter", completeFilters) // fails only for flags that do not exist
	_ = cmd.MarkFlagFilename("pipeline", "toml")
}

// chainFile is the value of --pipeline.
type chainFile chain

func (c *chainFile) Set(s string) error {
	if s == "" {
		return errors.New("it takes the name of a file")
	}
	c.file = s
	return nil
}

func (c *chainFile) String() string { return c.file }
func (c *chainFile) Type() string   { return "file" }

// chainOf is the chain of a command; nil where it takes no filters.
func chainOf(cmd *cobra.Command) *chain {
	if flag := cmd.Flags().Lookup("pipeline"); flag != nil {
		if c, is := flag.Value.(*chainFile); is {
			return (*chain)(c)
		}
	}
	return nil
}

// readChain reads the file that --pipeline names: options, which it returns, and
// filters.
func (p *program) readChain(cmd *cobra.Command) ([]setting, error) {
	c := chainOf(cmd)
	if c == nil || c.file == "" {
		return nil, nil
	}
	f, err := readTOML(c.file)
	if err != nil {
		return nil, err
	}
	if c.fromFile, err = f.filters(); err != nil {
		return nil, err
	}
	delete(f.root, "filter")
	return f.settings("", f.root, fileOptions(cmd.LocalNonPersistentFlags(), globalOptions(cmd)), []string{"filter"})
}

// filters are the file's, in their order.
func (f *tomlFile) filters() (out []fileFilter, err error) {
	filters, given := f.root["filter"]
	if !given {
		return nil, nil
	}
	tables, is := filters.([]any)
	if !is {
		return nil, f.wrong("filter", "filter is %s; begin each filter with a line [[filter]]", typeName(filters))
	}
	for i, item := range tables {
		at := "filter." + strconv.Itoa(i)
		table, is := item.(map[string]any)
		if !is {
			return nil, f.wrong(at, "filter has %s in its array; begin each filter with a line [[filter]]", typeName(item))
		}
		out = append(out, fileFilter{f, at, table})
	}
	return out, nil
}

// choosesPlatforms says whether a filter says which images to take.
func (p *program) choosesPlatforms(cmd *cobra.Command) bool {
	c := chainOf(cmd)
	if c == nil {
		return false
	}
	const chooser = "platforms"
	return slices.ContainsFunc(c.fromFile, func(f fileFilter) bool {
		name, _ := f.table["name"].(string)
		return pipeline.FilterName(name) == chooser
	}) || slices.ContainsFunc(c.specs, func(spec string) bool {
		name, _, _ := strings.Cut(spec, ":")
		return pipeline.FilterName(name) == chooser
	})
}

// filters makes the filters in the order in which the image meets them.
func (c *chain) filters(kinds pipeline.FilterKinds) (out []pipeline.Filter, err error) {
	for _, f := range c.fromFile {
		made, err := f.make(kinds)
		if err != nil {
			return nil, err
		}
		out = append(out, made)
	}
	for _, spec := range c.specs {
		made, err := kinds.New(spec)
		if err != nil {
			return nil, err
		}
		out = append(out, made)
	}
	return out, nil
}

// written are the filters as the user wrote them, or, of those of a file, what
// they do.
func (c *chain) written(made []pipeline.Filter) (out []string) {
	for _, f := range made[:len(c.fromFile)] {
		out = append(out, f.Recipe().Key)
	}
	return append(out, c.specs...)
}

// A fileFilter is one [[filter]] of a file: its name and its options.
type fileFilter struct {
	file  *tomlFile
	path  string
	table map[string]any
}

// make makes the filter. What is wrong is told with the file and the line.
func (f fileFilter) make(kinds pipeline.FilterKinds) (pipeline.Filter, error) {
	name, is := f.table["name"].(string)
	if !is || name == "" {
		return nil, f.file.wrong(join(f.path, "name"), `a filter needs a name, as in name = "exclude"`)
	}
	kind, err := kinds.Find(name)
	if err != nil {
		return nil, f.file.wrong(join(f.path, "name"), "%s", err)
	}
	options, keys := pipeline.FilterOptions{}, map[string]string{}
	for _, key := range f.file.keys(f.path, f.table) {
		if key == "name" {
			continue
		}
		option, err := kind.Option(key)
		if err == nil && keys[option.Name] != "" {
			err = pipeline.Usage("%s and %s are the same option of %s; give one", keys[option.Name], key, kind.Name)
		}
		if err != nil {
			return nil, f.file.wrong(join(f.path, key), "%s", err)
		}
		if err := f.give(options, option, f.table[key]); err != nil {
			return nil, f.file.wrong(join(f.path, key), "%s: %s", kind.Name, err)
		}
		keys[option.Name] = key
	}
	made, err := kind.New(options)
	var wrong *pipeline.UsageError
	if errors.As(err, &wrong) && keys[wrong.Option()] != "" {
		return nil, f.file.wrong(join(f.path, keys[wrong.Option()]), "%s: %s", kind.Name, err)
	} else if err != nil {
		return nil, f.file.wrong(f.path, "%s", err)
	}
	return made, nil
}

// give sets an option to a value of the file. Text is what --filter takes, as a
// whole; an array has a value in each of its places.
func (f fileFilter) give(options pipeline.FilterOptions, option pipeline.Option, value any) error {
	takes := "text, a whole number, true or false"
	if option.Repeats || option.Form == pipeline.List || option.Form == pipeline.Words {
		takes = "text, or an array of text"
	}
	if list, is := value.([]any); is {
		values := []string{}
		for _, item := range list {
			s, is := plainText(item)
			if !is {
				return pipeline.Usage("filter option %s has %s in its array; it takes %s", option.Name, typeName(item), takes)
			}
			values = append(values, s)
		}
		return options.Give(option, values)
	}
	s, is := plainText(value)
	switch {
	case !is:
		return pipeline.Usage("filter option %s is %s; it takes %s", option.Name, typeName(value), takes)
	case strings.Contains(s, "\x00"):
		return pipeline.BadValue(option.Name, s, "text without NUL")
	case option.Repeats:
		return options.Give(option, []string{s})
	case option.Form == pipeline.File:
		s = f.file.path(s)
	}
	options[option.Name] = s
	return nil
}

// plainText is a value as a command line has it.
func plainText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	}
	return "", false
}
