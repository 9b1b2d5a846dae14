package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// ours is the contender that the others are compared with.
const ours = "occystrap"

// A job is one thing to do, and who does it.
type job struct {
	name       string
	note       string // what a reader of the table must know
	most       int    // rounds at most; 0 is as many as asked for
	short      bool   // so short that it runs startRounds times
	daemons    bool   // runs with -daemons only
	lanes      bool   // needs the farm, and tells of the disk
	keeps      bool   // outputs are deleted at the end of the job, not after each run
	contenders []contender
	wants      []want
	input      int64 // bytes of the layers that outputs are compared with; 0 for none
}

// A contender is a program that does the job. start makes what one run needs and
// says how it is called; it is not timed.
type contender struct {
	name  string
	tool  string // key of the test environment; "" is always there
	start func(ctx context.Context, t trial) (attempt, error)
}

// A trial is where one run puts its result: nothing is there yet.
type trial struct {
	out  string // path of a file or folder
	name string // name of a repository
}

// An attempt is one run.
type attempt struct {
	command
	check check // nil where there is nothing to look at
	// amount says what the run came to, after the check; nil where nobody asks.
	amount func(ctx context.Context) (amounts, error)
	leaves []string // what goes besides the trial's out
	// servers are processes whose time is not that of others.
	servers []int
	// end stops what runs for this attempt, however it went; nil where nothing does.
	end func() error
}

// A series is what came of a contender in a job.
type series struct {
	Contender string
	Skipped   string   `json:",omitempty"` // why it did not run
	Failed    string   `json:",omitempty"` // why its figures do not count
	Samples   []sample `json:",omitempty"`
}

// A result is what came of a job.
type result struct {
	Job      string
	Note     string `json:",omitempty"`
	Input    int64  `json:",omitempty"` // bytes of the layers that went in
	Rounds   int    `json:",omitempty"` // that count, where the jobs of a report differ in it
	Series   []series
	Verdicts []judged
}

// failed says whether occystrap itself failed, or missed a figure.
func (r result) failed() bool {
	return slices.ContainsFunc(r.Series, func(s series) bool { return s.Contender == ours && s.Failed != "" }) ||
		slices.ContainsFunc(r.Verdicts, func(j judged) bool { return j.Verdict == fail })
}

// A judged want is one that was held against the figures.
type judged struct {
	Want    string
	Verdict verdict
}

// A runner runs jobs.
type runner struct {
	env    testEnv
	meter  meter
	rounds int    // that count
	quick  bool   // short jobs too run no more often than that
	dir    string // for outputs
	say    func(format string, args ...any)
	trials int
}

// run runs a job: a round to warm up, then those that count, each contender in
// each of them, starting with another one every time. A contender that fails, or
// whose result is wrong, is out and has no figures; the others go on.
func (r *runner) run(ctx context.Context, j job) (result, error) {
	out := result{Job: j.name, Note: j.note, Input: j.input}
	var present []int
	for n, c := range j.contenders {
		out.Series = append(out.Series, series{Contender: c.name})
		if c.tool != "" && r.env.values[c.tool] == "" {
			out.Series[n].Skipped = r.env.why(c.tool)
			continue
		}
		present = append(present, n)
	}
	rounds := r.roundsOf(j)
	if j.lanes {
		out.Rounds = rounds
	}
	for round := range rounds + 1 {
		for k := range present {
			n := present[(round+k)%len(present)]
			if out.Series[n].Failed != "" {
				continue
			}
			s, err := r.try(ctx, j.contenders[n], !j.short || round == 0, j.keeps, j.lanes)
			switch {
			case ctx.Err() != nil:
				return out, ctx.Err()
			case err != nil:
				r.say("  %s: %v", j.contenders[n].name, err)
				out.Series[n].Failed, out.Series[n].Samples = err.Error(), nil
			case round > 0:
				out.Series[n].Samples = append(out.Series[n].Samples, s)
			}
		}
	}
	out.Verdicts = judge(j.wants, out.Series)
	return out, os.RemoveAll(r.dir)
}

func (r *runner) roundsOf(j job) int {
	switch {
	case j.short && !r.quick:
		return startRounds
	case j.most > 0:
		return min(r.rounds, j.most)
	}
	return r.rounds
}

// try is one run with what comes before and after it. Its output has a name that
// no other run has, and goes when it was checked: outputs that stay fill the page
// cache, and then whoever writes next pays for making room.
func (r *runner) try(ctx context.Context, c contender, settle, keeps, disk bool) (s sample, err error) {
	r.trials++
	if err := os.MkdirAll(r.dir, 0o750); err != nil {
		return sample{}, err
	}
	t := trial{name: fmt.Sprintf("out-%d", r.trials)}
	t.out = filepath.Join(r.dir, t.name)
	a, err := c.start(ctx, t)
	if a.end != nil {
		defer func() { err = errors.Join(err, a.end()) }()
	}
	if err != nil {
		return sample{}, err
	}
	if settle {
		r.meter.settle(ctx)
	}
	m := r.meter
	m.servers = slices.Concat(m.servers, a.servers)
	s, err = r.measure(ctx, m, a.command, disk)
	if err != nil {
		return s, err
	}
	if a.check != nil {
		if err := a.check(ctx); err != nil {
			return s, fmt.Errorf("the result is wrong: %w", err)
		}
	}
	if a.amount != nil {
		more, err := a.amount(ctx)
		if err != nil {
			return s, fmt.Errorf("ask for the size of the result: %w", err)
		}
		more.Disk = s.Disk
		s.amounts = more
	}
	if keeps {
		return s, nil
	}
	return s, removeAll(append(a.leaves, t.out))
}

func removeAll(paths []string) error {
	var errs []error
	for _, p := range paths {
		errs = append(errs, os.RemoveAll(p))
	}
	return errors.Join(errs...)
}

// measure runs the command; with disk, the disk is watched too.
func (r *runner) measure(ctx context.Context, m meter, c command, disk bool) (sample, error) {
	if !disk {
		return m.measure(ctx, c)
	}
	most := watchDisk(r.dir)
	s, err := m.measure(ctx, c)
	s.Disk = most()
	return s, err
}

// judge holds what was wanted against the figures.
func judge(wants []want, all []series) []judged {
	summaries := map[string]summary{}
	for _, s := range all {
		if len(s.Samples) > 0 {
			summaries[s.Contender] = summarize(s.Samples)
		}
	}
	var out []judged
	for _, w := range wants {
		v := unknown
		if mine, ok := summaries[ours]; ok {
			v = w.judge(mine, summaries)
		}
		out = append(out, judged{Want: w.text, Verdict: v})
	}
	return out
}
