package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

// The defaults of the flags.
const (
	defaultRounds = 5
	defaultWait   = 10 * time.Second
)

// errMissed ends a run that went well and whose figures are not what was wanted.
var errMissed = errors.New("occystrap failed or missed a wanted figure")

// options are the flags.
type options struct {
	rounds  int
	only    *regexp.Regexp
	quick   bool
	list    bool
	daemons bool
	image   string
	program string
	wait    time.Duration
	merge   bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := start(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

// peers are what this program is, where its first argument says so.
var peers = map[string]func(ctx context.Context, args []string) error{
	inflateName: inflateMain, walkName: walkMain, drainName: drainMain, sendName: sendMain, headsName: headsMain, firstName: firstMain, lineName: lineMain,
}

// start is a peer that is no program of its own, or the benchmark.
func start(ctx context.Context, args []string) error {
	if len(args) > 0 && peers[args[0]] != nil {
		return peers[args[0]](ctx, args[1:])
	}
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	return o.run(ctx)
}

func parseOptions(args []string) (options, error) {
	o := options{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&o.rounds, "n", defaultRounds, "rounds that count; one more warms up")
	only := flags.String("only", "", "jobs to run: those whose name matches this regular expression")
	flags.BoolVar(&o.quick, "quick", false, "one round with a small image, to see that everything works")
	flags.BoolVar(&o.list, "list", false, "list the jobs and end")
	flags.BoolVar(&o.daemons, "daemons", false, "also run the jobs from and to Docker daemons (slow)")
	flags.BoolVar(&o.merge, "merge", false, "add to the results of earlier calls, in place of the same jobs' (.cache/results.json, .cache/RESULTS.md)")
	flags.StringVar(&o.image, "image", "", "OCI layout to move in place of the benchmark image")
	flags.StringVar(&o.program, "occystrap", "", "program to measure (default: built from this module)")
	flags.DurationVar(&o.wait, "wait", defaultWait, "how long to wait for an idle machine before each run")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	var err error
	if o.only, err = regexp.Compile(*only); err != nil {
		return o, fmt.Errorf("-only: %w", err)
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q; the jobs are chosen by -only", flags.Arg(0))
	case o.rounds < 1:
		return o, fmt.Errorf("-n is %d; it takes a number from 1 up", o.rounds)
	case o.quick && o.image != "":
		return o, errors.New("-quick has an image of its own; leave out -image")
	}
	if o.quick {
		o.rounds, o.wait = 1, 0
	}
	return o, nil
}

// complete says whether the figures are those that RESULTS.md is for.
func (o options) complete() bool { return !o.quick && o.only.String() == "" && o.image == "" }
