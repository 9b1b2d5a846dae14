package cliplugin

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/occystrap/occystrap/pipeline"
)

// A setting is an option that some place other than the command line gives.
type setting struct {
	flag   *pflag.Flag
	values []string
	wrong  func(err error) error // tells where the value stands
}

// settle gives every option its value. The first place that has one counts:
//
//	command line ▸ environment ▸ --pipeline ▸ config.toml ▸ Docker's config.json
//
// before which come the options of a URI, which pipeline reads, and behind which
// the defaults.
func (p *program) settle(cmd *cobra.Command) error {
	places := [][]setting{environmentSettings(cmd)}
	if hasSettings(cmd) {
		files, err := p.fileSettings(cmd)
		if err != nil {
			return err
		}
		places = append(places, files...)
	}
	settled := map[*pflag.Flag]bool{}
	cmd.Flags().Visit(func(f *pflag.Flag) { settled[f] = true })
	for _, place := range places {
		if err := settlePlace(cmd, place, settled); err != nil {
			return err
		}
	}
	return p.options.contradictions(cmd)
}

// settlePlace gives those options a value that no place before has settled.
func settlePlace(cmd *cobra.Command, place []setting, settled map[*pflag.Flag]bool) error {
	given := map[*pflag.Flag]bool{}
	for _, s := range place {
		// A variant says nothing without its architecture.
		if settled[s.flag] || rival(cmd, s.flag, settled) != "" || s.flag.Name == "variant" && settled[cmd.Flags().Lookup("architecture")] {
			continue
		}
		if other := rival(cmd, s.flag, given); other != "" {
			return s.wrong(fmt.Errorf("%s contradicts it; give one", other))
		}
		for _, v := range s.values {
			// Not flags.Set: what stands misplaced does not make a flag "given".
			if err := s.flag.Value.Set(v); err != nil {
				return s.wrong(explained(s.flag, err))
			}
		}
		given[s.flag] = true
	}
	maps.Copy(settled, given)
	return nil
}

// explained is why a value cannot be set, in our words.
func explained(flag *pflag.Flag, err error) error {
	if flag.Value.Type() == "bool" { // pflag tells of Go's parser
		return errors.New("it takes true or false")
	}
	return err
}

// runsItself is the annotation of a command that has others below it, and options
// of its own.
const runsItself = "runs-itself"

// hasSettings: what only tells of itself must work whatever files say.
func hasSettings(cmd *cobra.Command) bool {
	for c := cmd; c.HasParent(); c = c.Parent() {
		if name := c.Name(); name == "version" || name == "help" || name == "completion" || strings.HasPrefix(name, "__") {
			return false
		}
	}
	_, runs := cmd.Annotations[runsItself]
	return (runs || !cmd.HasSubCommands()) && cmd.Annotations[Topic] == ""
}

// camps are options that contradict each other: those of one camp those of all
// others of its line.
var camps = [][][]string{
	{{"platform"}, {"all-platforms"}, {"os", "architecture", "variant"}},
	{{"quiet"}, {"verbose", "debug"}},
	{{"password"}, {"password-stdin"}},
	{{"script-friendly"}, {"output-format"}},
}

// rival is the option among those set that a flag contradicts; "" for none. One
// that is off contradicts nothing.
func rival(cmd *cobra.Command, flag *pflag.Flag, set map[*pflag.Flag]bool) string {
	on := func(name string) bool {
		f := cmd.Flags().Lookup(name)
		return f != nil && set[f] && f.Value.String() != "false"
	}
	for _, line := range camps {
		mine := slices.IndexFunc(line, func(camp []string) bool { return slices.Contains(camp, flag.Name) })
		for i, camp := range line {
			if at := slices.IndexFunc(camp, on); mine >= 0 && i != mine && at >= 0 {
				return camp[at]
			}
		}
	}
	return ""
}

// environmentSettings are those of the variables, in the order of their options.
func environmentSettings(cmd *cobra.Command) (out []setting) {
	for _, name := range sorted(environment) {
		variable, flag := environment[name], cmd.Flags().Lookup(name)
		if value := os.Getenv(variable); value != "" && flag != nil {
			out = append(out, setting{
				flag: flag, values: []string{value},
				wrong: func(err error) error { return usage(cmd, "%s is %q; %s", variable, value, err) },
			})
		}
	}
	return out
}

// pathOptions name files: in a file of settings they are relative to it.
var pathOptions = map[string]bool{
	"ca": true, "source-creds-file": true, "dest-creds-file": true, "temp-dir": true, "metadata-file": true, "layer-cache": true, "ledger": true, "have": true, "store": true,
}

// misplaced are words that a file of settings does not have, and where they
// belong.
var misplaced = map[string]string{ // sentences, no secrets
	"password": `a password does not belong in a file of settings; log in with "docker login", which gives it to a credential helper ` +
		`(credsStore, credHelpers), or name a file for one side with --source-creds-file or --dest-creds-file`,
	"upstream-password": "a password does not belong in a file of settings; log in with \"docker login\", or set OCCYSTRAP_UPSTREAM_PASSWORD",
	"password-stdin":    "password-stdin belongs on the command line, beside the standard input that it reads",
	"pipeline":          "pipeline belongs on the command line",
	"source":            "source belongs on the command line: process SOURCE DESTINATION",
	"destination":       "destination belongs on the command line: process SOURCE DESTINATION",
	"filter":            "a filter here would change every image unasked; put it into a file of its own and name that with --pipeline",
	"host":              "host is an option of Docker's own; see docker context, or set DOCKER_HOST",
	"context":           "context is an option of Docker's own; see docker context, or set DOCKER_CONTEXT",
}

// fileOptions are the options that a file of settings may have, from those of a
// command and the global ones.
func fileOptions(sets ...*pflag.FlagSet) map[string]*pflag.Flag {
	out := map[string]*pflag.Flag{}
	for _, set := range sets {
		set.VisitAll(func(f *pflag.Flag) {
			if _, no := misplaced[f.Name]; !no && f.Name != "help" && out[f.Name] == nil {
				out[f.Name] = f
			}
		})
	}
	return out
}

// tree is the top of our commands, which has the global options: Docker's own
// command may be above.
func tree(cmd *cobra.Command) *cobra.Command {
	for c := cmd; c != nil; c = c.Parent() {
		if c.PersistentFlags().Lookup("temp-dir") != nil {
			return c
		}
	}
	return cmd
}

// globalOptions are our own options that every command has, without Docker's.
func globalOptions(cmd *cobra.Command) *pflag.FlagSet {
	ours, out := pflag.NewFlagSet("", pflag.ContinueOnError), pflag.NewFlagSet("", pflag.ContinueOnError)
	(&options{}).install(ours)
	top := tree(cmd).PersistentFlags()
	ours.VisitAll(func(f *pflag.Flag) { out.AddFlag(top.Lookup(f.Name)) })
	return out
}

// unknownOption says what is wrong with a key that is no option; "" for nothing.
// Beside are other words of the same place.
func unknownOption(key string, known map[string]*pflag.Flag, beside ...string) string {
	if known[key] != nil {
		return ""
	}
	if where := misplaced[key]; where != "" {
		return where
	}
	words := slices.Concat(sorted(known), beside)
	if near := pipeline.Nearest(key, append(words, sorted(misplaced)...)); near != "" && (misplaced[near] == "" || slices.Contains(beside, near)) {
		return fmt.Sprintf("there is no option %s (did you mean %s?)", strconv.Quote(key), near)
	} else if near != "" {
		return fmt.Sprintf("there is no option %s, and %s", strconv.Quote(key), misplaced[near])
	}
	return fmt.Sprintf("there is no option %s; there are %s", strconv.Quote(key), strings.Join(words, ", "))
}
