package cliplugin

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/occystrap/occystrap/pipeline"
)

// A usageError is a mistake in the command line itself: it ends the program
// with code 2 and a hint where the help is.
type usageError struct {
	cmd     *cobra.Command
	message string
}

func (e *usageError) Error() string { return e.message }

func usage(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd: cmd, message: fmt.Sprintf(format, args...)}
}

// takes returns a check that a command has exactly the arguments named. The
// message counts them and does not repeat them: one may hold a password.
func takes(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == len(names):
			return nil
		case len(names) == 0:
			return usage(cmd, "%s takes no arguments", cmd.Name())
		case len(args) < len(names):
			return usage(cmd, "Missing argument %s", names[len(args)])
		}
		return usage(cmd, "%s takes %s, and there are %d arguments", cmd.Name(), strings.Join(names, " and "), len(args))
	}
}

// takesSome asks for one argument or more.
func takesSome(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usage(cmd, "Missing argument %s", name)
		}
		return nil
	}
}

// unknownCommand refuses what is not the name of a command.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	if strings.Contains(args[0], ":") { // a URI, which may have a password in it
		return usage(cmd, "A URI stands where a command is expected; write %s process SOURCE DESTINATION", cmd.CommandPath())
	}
	if near := pipeline.Nearest(args[0], names); near != "" {
		return usage(cmd, "Unknown command: %s (did you mean %s?)", args[0], near)
	}
	return usage(cmd, "Unknown command: %s (there are %s)", args[0], strings.Join(names, ", "))
}

// isFlagError recognises what pflag says of a flag, for the errors that do not
// come through a command's FlagErrorFunc.
func isFlagError(err error) bool {
	var (
		notExist *pflag.NotExistError
		required *pflag.ValueRequiredError
		invalid  *pflag.InvalidValueError
		syntax   *pflag.InvalidSyntaxError
	)
	return errors.As(err, &notExist) || errors.As(err, &required) || errors.As(err, &invalid) || errors.As(err, &syntax)
}

// flagMessage says what is wrong with a flag. It repeats no more of the command
// line than the flag's name: after an unknown -p may follow a password.
func flagMessage(cmd *cobra.Command, err error) string {
	var notExist *pflag.NotExistError
	if !errors.As(err, &notExist) {
		return err.Error()
	}
	name := notExist.GetSpecifiedName()
	if notExist.GetSpecifiedShortnames() != "" {
		return "Unknown option: -" + firstRune(name)
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	if near := pipeline.Nearest(name, known); near != "" {
		return fmt.Sprintf("Unknown option: --%s (did you mean --%s?)", name, near)
	}
	return "Unknown option: --" + name
}

func firstRune(s string) string {
	for _, r := range s {
		return string(r)
	}
	return ""
}

// oneError is an error on one line; where several are joined, each is told from
// the next.
func oneError(err error) string {
	return pipeline.OneLine(strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; "))
}
