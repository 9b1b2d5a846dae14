package cliplugin

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/occystrap/occystrap/pipeline"
)

// configVariable names the file of settings in place of the usual one.
const configVariable = "OCCYSTRAP_CONFIG"

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// fileSettings are those of files: the pipeline's, ours, Docker's.
func (p *program) fileSettings(cmd *cobra.Command) ([][]setting, error) {
	chain, err := p.readChain(cmd)
	if err != nil {
		return nil, err
	}
	own, general, err := configSettings(cmd)
	if err != nil {
		return nil, err
	}
	docker, err := p.dockerSettings(cmd)
	if err != nil {
		return nil, err
	}
	defaults := [][]setting{own, general, docker}
	if p.choosesPlatforms(cmd) {
		// The filter says which images to take: a default does not contradict it.
		for i, place := range defaults {
			defaults[i] = slices.DeleteFunc(place, func(s setting) bool { return slices.Contains(slices.Concat(camps[0]...), s.flag.Name) })
		}
	}
	return append([][]setting{chain}, defaults...), nil
}

// configFile is where the file of settings is, and whether it must be there; ""
// for nowhere.
func configFile() (name string, must bool) {
	if name := os.Getenv(configVariable); name != "" {
		return name, true
	}
	// Not os.UserConfigDir, which some systems have misplaced. A path that is not
	// absolute does not count (XDG Base Directory Specification).
	dir := os.Getenv("XDG_CONFIG_HOME")
	if home, err := os.UserHomeDir(); !filepath.IsAbs(dir) {
		if err != nil {
			return "", false
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, standAloneName, "config.toml"), false
}

// configSettings are those of config.toml: of the command's own table, and of
// all commands.
func configSettings(cmd *cobra.Command) (own, general []setting, err error) {
	name, must := configFile()
	if name == "" {
		return nil, nil, nil
	}
	// A pipe would have us wait for ever.
	if info, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) && !must {
		return nil, nil, nil
	} else if err == nil && !info.Mode().IsRegular() && !info.IsDir() && name != os.DevNull {
		return nil, nil, fmt.Errorf("read %s: it is not a file; %s names one", name, configVariable)
	}
	f, err := readTOML(name)
	if err != nil {
		return nil, nil, err
	}
	return f.commandSettings(cmd)
}

// commandSettings are those of a command's own table, and those of all commands.
func (f *tomlFile) commandSettings(cmd *cobra.Command) (own, general []setting, err error) {
	global := globalOptions(cmd)
	tables := map[string]*cobra.Command{}
	for _, c := range tree(cmd).Commands() {
		if c.IsAvailableCommand() && hasSettings(c) {
			tables[c.Name()] = c
		}
	}
	top := map[string]any{}
	for key, v := range f.root {
		table, is := v.(map[string]any)
		if tables[key] == nil || !is {
			top[key] = v
			continue
		}
		settings, err := f.settings(key, table, fileOptions(tables[key].LocalNonPersistentFlags(), global), nil)
		if err != nil {
			return nil, nil, err
		}
		if tables[key] == cmd {
			own = settings
		}
	}
	general, err = f.settings("", top, fileOptions(global), sorted(tables))
	return own, general, err
}

// settings reads the options in the table at a path; beside are the tables and
// arrays that may stand beside them.
func (f *tomlFile) settings(path string, table map[string]any, known map[string]*pflag.Flag, beside []string) (out []setting, err error) {
	for _, key := range f.keys(path, table) {
		at := join(path, key)
		_, isTable := table[key].(map[string]any)
		switch wrong := unknownOption(key, known, beside...); {
		case slices.Contains(beside, key):
			return nil, f.wrong(at, "%s is %s; it is a table, [%s]", key, typeName(table[key]), key)
		case wrong != "" && isTable && misplaced[key] == "":
			return nil, f.wrong(at, "%s", unknownTable(key, beside))
		case wrong != "":
			return nil, f.wrong(at, "%s", wrong)
		}
		values, takes := optionText(known[key], table[key])
		if takes != "" {
			return nil, f.wrong(at, "%s is %s; it takes %s", key, typeName(table[key]), takes)
		}
		if pathOptions[key] {
			values[0] = f.path(values[0])
		}
		out = append(out, setting{flag: known[key], values: values, wrong: func(err error) error {
			return f.wrong(at, "%s is %s; %s", key, strconv.Quote(strings.Join(values, ", ")), err)
		}})
	}
	return out, nil
}

// unknownTable says what is wrong with a table.
func unknownTable(key string, beside []string) string {
	if near := pipeline.Nearest(key, beside); near != "" {
		return fmt.Sprintf("there is no table %s (did you mean %s?)", strconv.Quote(key), near)
	}
	return fmt.Sprintf("there is no table %s; options stand at the top of the file, and tables are %s", strconv.Quote(key), strings.Join(beside, ", "))
}

// optionText is the value of an option as the command line would have it, or else
// what it takes.
func optionText(flag *pflag.Flag, value any) (values []string, takes string) {
	switch v := value.(type) {
	case bool:
		if flag.Value.Type() == "bool" {
			return []string{strconv.FormatBool(v)}, ""
		}
	case int64:
		if t := flag.Value.Type(); t != "bool" && t != "string" && t != "platform" && t != stringArray {
			return []string{strconv.FormatInt(v, 10)}, ""
		}
	case string:
		if t := flag.Value.Type(); t != "bool" && t != "int" {
			return []string{v}, ""
		}
	case []any:
		if takesMany(flag) && len(v) > 0 {
			for _, item := range v {
				s, is := item.(string)
				if !is {
					return nil, "text, or an array of it"
				}
				values = append(values, s)
			}
			return values, ""
		}
	}
	return nil, takenBy(flag)
}

// stringArray is what pflag calls an option of texts that may be given several times.
const stringArray = "stringArray"

// takesMany says whether an option may be given several times.
func takesMany(flag *pflag.Flag) bool {
	_, platforms := flag.Value.(*platformList)
	return platforms || flag.Value.Type() == stringArray
}

// takenBy says what an option takes.
func takenBy(flag *pflag.Flag) string {
	switch v := flag.Value.(type) {
	case *choice:
		return "one of " + strings.Join(v.allowed, ", ")
	case *platformList:
		return "text, or an array of it"
	}
	switch flag.Value.Type() {
	case stringArray:
		return "text, or an array of it"
	case "bool":
		return "true or false"
	case "int":
		return "a whole number"
	case "string":
		return "text"
	}
	return "a number, or text such as \"10m\""
}

// dockerSettings are those of plugins.occystrap in Docker's config.json, which
// are text. Docker itself reads hooks there.
func (p *program) dockerSettings(cmd *cobra.Command) (out []setting, err error) {
	config := p.docker.ConfigFile()
	known := fileOptions(globalOptions(cmd))
	for _, key := range sorted(config.Plugins[standAloneName]) {
		if key == "hooks" || key == "error-hooks" {
			continue
		}
		value := config.Plugins[standAloneName][key]
		wrong := func(err error) error {
			return fmt.Errorf("%s: plugins.%s: %w", config.GetFilename(), standAloneName, err)
		}
		if unknown := unknownOption(key, known); unknown != "" {
			return nil, wrong(pipeline.Usage("%s", unknown))
		}
		if pathOptions[key] {
			value = (&tomlFile{dir: filepath.Dir(config.GetFilename())}).path(value)
		}
		out = append(out, setting{flag: known[key], values: []string{value}, wrong: func(err error) error {
			return wrong(fmt.Errorf("%s is %s; %w", key, strconv.Quote(value), err))
		}})
	}
	return out, nil
}
