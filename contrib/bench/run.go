package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// peerTools are the keys of what occystrap is compared with.
var peerTools = []string{"CRANE", "REGCTL", "SKOPEO", "UMOCI"}

// run does everything: sets up, measures, tells, takes down.
func (o options) run(ctx context.Context) (err error) {
	s := &session{options: o}
	if o.list {
		return s.listJobs()
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.open(ctx); err != nil {
		return err
	}
	r, err := s.describe(ctx)
	if err != nil {
		return err
	}
	missed, err := s.measureAll(ctx, &r)
	if err != nil {
		return err
	}
	if o.complete() {
		if err := r.writeMarkdown(filepath.Join(s.module, "contrib", "bench", "RESULTS.md")); err != nil {
			return err
		}
	}
	if missed {
		return errMissed
	}
	return nil
}

// listJobs prints the names that -only is matched with.
func (s *session) listJobs() error {
	b := &bench{registry: &registry{}, other: &registry{}, checker: newChecker(image{}, nil)}
	for _, j := range b.jobs() {
		if _, err := fmt.Fprintln(os.Stdout, j.name); err != nil {
			return err
		}
	}
	return nil
}

// describe is the report without results.
func (s *session) describe(ctx context.Context) (report, error) {
	img := s.bench.checker.image
	plain, err := s.plainSize(ctx)
	if err != nil {
		return report{}, err
	}
	s.bench.plain = plain
	r := report{
		Date: time.Now(), Rounds: s.rounds, Machine: thisMachine(), Go: goVersion(ctx),
		Tools: toolVersions(ctx, s.env, s.bench.program), Missing: map[string]string{},
		Image: imageFacts{Manifest: img.Desc.Digest.String(), Layers: len(img.Layers), Compressed: img.size(), Plain: plain},
	}
	for _, key := range peerTools {
		if s.env.values[key] == "" {
			r.Missing[key] = s.env.why(key)
			s.say("%s is missing: %s", key, r.Missing[key])
		}
	}
	s.say("%s, %d cores; %s", r.Machine.CPU, r.Machine.Cores, r.Image)
	return r, nil
}

// measureAll runs the chosen jobs. What was measured is kept after each of them.
func (s *session) measureAll(ctx context.Context, r *report) (missed bool, err error) {
	runner := &runner{
		env:    s.env,
		meter:  meter{wait: s.wait, servers: []int{s.bench.registry.cmd.Process.Pid, s.bench.other.cmd.Process.Pid}},
		rounds: s.rounds, quick: s.quick, dir: filepath.Join(s.dir, "out"), say: s.say,
	}
	for _, j := range s.bench.jobs() {
		if !s.only.MatchString(j.name) || j.daemons && !s.daemons {
			continue
		}
		if s.quick {
			j.wants = nil // figures of the small image mean nothing
		}
		if j.lanes {
			if err := s.farm(ctx); err != nil {
				return missed, err
			}
		}
		s.say("%s …", j.name)
		res, err := runner.run(ctx, j)
		if err != nil {
			return missed, err
		}
		r.Results = append(r.Results, res)
		missed = missed || res.failed()
		if _, err := fmt.Fprint(os.Stdout, res.text()); err != nil {
			return missed, err
		}
		if err := s.keep(*r); err != nil {
			return missed, err
		}
	}
	if len(r.Results) == 0 {
		return missed, fmt.Errorf("no job matches -only %q; -list shows them", s.only)
	}
	return missed, nil
}

// keep writes what is known so far; with -merge after what earlier calls found.
func (s *session) keep(r report) error {
	file := filepath.Join(s.cache, "results.json")
	if !s.merge {
		return r.writeJSON(file)
	}
	r, err := r.merged(file)
	if err != nil {
		return err
	}
	return errors.Join(r.writeJSON(file), r.writeMarkdown(filepath.Join(s.cache, "RESULTS.md")))
}
