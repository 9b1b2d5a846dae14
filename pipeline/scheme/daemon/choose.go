package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/occystrap/occystrap/pipeline"
)

// An end is one end of a run at a daemon, before and after its lane was chosen.
type end struct {
	config Config
	side   pipeline.Side
	forced string // ?lane=; "" for none
	at     At
	target Target // without its Place, until meet

	report pipeline.LaneReport
	opened any // the graph or sink of the lane; nil before
}

// forcible returns an error for a name that no lane of the side has.
func (c Config) forcible(name string, side pipeline.Side) error {
	if name == "" {
		return nil
	}
	var have []string
	for _, n := range preference[side][StoreContainerd] {
		if c.lane(n) != nil {
			have = append(have, n)
		}
	}
	if slices.Contains(have, name) {
		return nil
	}
	return pipeline.Usage("docker:// has no lane %q for a %s; there is %s", name, side, strings.Join(have, ", "))
}

// lane returns the lane of a name; nil where nobody handed it in.
func (c Config) lane(name string) Lane {
	for _, l := range append(slices.Clone(c.Lanes), pushLane{}, saveLane{}, pullLane{}, loadLane{}) {
		if l.Name() == name {
			return l
		}
	}
	return nil
}

// meet connects to the daemon and looks at it.
func (e *end) meet(ctx context.Context) error {
	cli, host, err := e.config.connect(ctx, e.at)
	if err != nil {
		return err
	}
	p, err := Meet(ctx, cli, host)
	if err != nil {
		return errors.Join(err, cli.Close())
	}
	if f := e.config.Forward; f != nil && strings.HasPrefix(p.Host, "ssh://") {
		p.Forward = func(ctx context.Context, localAddr string) (string, func() error, error) {
			return f(ctx, p.Host, localAddr)
		}
	}
	e.target.Place = p
	e.report = pipeline.LaneReport{Side: e.side, Place: p.Host, Forced: e.forced != ""}
	return nil
}

// try opens lanes in their order until one works, and tells which did.
func (e *end) try(ctx context.Context, open func(Lane) error) error {
	names := preference[e.side][e.target.Place.Store]
	if e.forced != "" {
		names = []string{e.forced}
	}
	for _, name := range names {
		l := e.config.lane(name)
		if l == nil {
			continue
		}
		why, err := l.Fits(ctx, e.side, e.target.Place)
		if err == nil {
			if err = open(l); err == nil {
				e.report.Lane, e.report.Why = name, why
				e.target.Events.Lane(e.report)
				return nil
			}
			if unfit := new(UnfitError); !errors.As(err, &unfit) {
				return err
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if e.forced != "" {
			return fmt.Errorf("lane %s does not work at %s (leave out ?lane= to take one that does): %w", name, e.report.Place, err)
		}
		e.report.Passed = append(e.report.Passed, pipeline.PassedLane{Lane: name, Why: err.Error()})
	}
	return e.none()
}

// none is the error when no lane has worked.
func (e *end) none() error {
	var reasons []string
	for _, p := range e.report.Passed {
		reasons = append(reasons, p.Lane+": "+p.Why)
	}
	return fmt.Errorf("no lane works at %s: %s", e.report.Place, strings.Join(reasons, "; "))
}

// Lane says which lane the end took.
func (e *end) Lane() (pipeline.LaneReport, bool) {
	r := e.report
	if u, ok := e.opened.(pipeline.DiskUser); ok {
		r.Disk = u.PeakDisk()
	}
	return r, r.Lane != ""
}

// close ends the connection.
func (e *end) close() error {
	if e.target.Place == nil {
		return nil
	}
	return e.target.Place.Client.Close()
}
