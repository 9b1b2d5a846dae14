package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The daemons of the farm that images go out of and into.
var (
	storeDaemon   = dockerDaemon{"Docker, containerd store", storeKey}
	overlayDaemon = dockerDaemon{"Docker, overlay2", overlayKey}
	secondDaemon  = dockerDaemon{"a second Docker, containerd store", secondKey}
)

// The contenders of lanes besides ours, which is root.
const (
	bySidecar   = "occystrap, a user with the sidecar"
	alone       = "occystrap, a user without"
	bySocket    = "occystrap, a user with containerd's socket"
	dockerSave  = "docker save"
	dockerLoad  = "docker load"
	saveToLoad  = "docker save | docker load"
	ctrExport   = "ctr images export"
	ctrImport   = "ctr images import"
	copyOfFile  = "cp of the result"
	emptyLimit  = 2 * time.Minute // until a daemon has thrown away what nobody reaches
	sidecarNone = "none"
)

// A lane is a way of ours out of or into a daemon of the farm, by somebody.
type lane struct {
	name    string
	groups  []uint32 // of the user; nil is root
	sidecar bool
	by      []string // the lanes that it must have taken
	run     func(t trial) (from, to string, look check)
	ready   func(ctx context.Context) error
}

// lane makes a contender of it.
func (b *bench) lane(l lane) contender {
	return contender{name: l.name, tool: storeKey, start: func(ctx context.Context, t trial) (attempt, error) {
		if err := l.ready(ctx); err != nil {
			return attempt{}, err
		}
		if l.groups != nil {
			t.out = filepath.Join(b.home(), t.name)
		}
		from, to, look := l.run(t)
		told := t.out + ".json"
		a := attempt{command: b.process(from, to), leaves: []string{told}}
		a.args = append(a.args, "--metadata-file", told)
		a.check = func(ctx context.Context) error { return errors.Join(tookLanes(told, l.by), look(ctx)) }
		socket := sidecarNone
		if l.sidecar {
			socket = b.env.values[sidecarKey]
			a.amount = func(context.Context) (amounts, error) { return amounts{Sidecar: b.farm.peak("sidecar")}, nil }
		}
		if l.groups != nil {
			a.command = b.as(a.command, l.groups...)
			a.leaves = append(a.leaves, t.out)
		}
		a.env = append(a.env, "OCCYSTRAP_SIDECAR="+socket)
		return a, nil
	}}
}

// tookLanes wants these lanes in what a run tells of itself.
func tookLanes(file string, want []string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var told struct {
		Report struct {
			Lanes []struct{ Lane, Why string }
		} `json:"occystrap.report"`
	}
	if err := json.Unmarshal(raw, &told); err != nil {
		return fmt.Errorf("read what the run told: %w", err)
	}
	got := each(told.Report.Lanes, func(l struct{ Lane, Why string }) string { return l.Lane })
	if !slices.Equal(got, want) {
		return fmt.Errorf("the run took the lanes %+v, not %v", told.Report.Lanes, want)
	}
	return nil
}

// laneOf makes a contender of another program, at a daemon that is made ready.
func (b *bench) laneOf(name string, ready func(ctx context.Context) error, run func(t trial) attempt) contender {
	return contender{name: name, tool: storeKey, start: func(ctx context.Context, t trial) (attempt, error) {
		err := ready(ctx)
		return run(t), err
	}}
}

// at is the image in a daemon, as a URI.
func (b *bench) at(d dockerDaemon) string {
	return "docker://" + imageName + "?socket=" + b.env.values[d.key]
}

func (b *bench) inContainerd(key string) string {
	return "containerd://" + imageName + "?namespace=" + ctrNamespace + "&address=" + b.env.values[key]
}

// ctrNamespace is where containerd:// has the image.
const ctrNamespace = "occystrap-bench"

// ctr calls containerd's client for one of the farm.
func (b *bench) ctr(key string, args ...string) command {
	return command{args: append([]string{b.env.values["CTR"], "--address", b.env.values[key], "--namespace", ctrNamespace}, args...)}
}

// fullName is the image as containerd calls it.
const fullName = "docker.io/library/" + imageName

// with makes a daemon hold these archives, and without the image what is not
// among them.
func (b *bench) with(d dockerDaemon, whole, most bool) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		for name, want := range map[string]struct {
			there   bool
			archive string
		}{imageName: {whole, b.archive}, mostName: {most, b.most}} {
			_, err := b.layersAt(ctx, d, name)
			switch there := err == nil; {
			case ctx.Err() != nil:
				return ctx.Err()
			case want.there && !there:
				if _, err := b.docker(d, "load", "-i", want.archive).run(ctx); err != nil {
					return err
				}
			case !want.there && there:
				if err := b.without(ctx, d, name); err != nil {
					return err
				}
			}
		}
		if whole || most || d.key == overlayKey {
			return nil
		}
		return b.emptied(ctx, map[string]string{storeKey: containerdKey, secondKey: otherKey}[d.key], "moby")
	}
}

// imported makes containerd hold the image, or not.
func (b *bench) imported(key string, there bool) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		list, err := output(ctx, b.ctr(key, "images", "ls", "-q").args...)
		switch has := strings.Contains(list, fullName); {
		case err != nil:
			return err
		case has == there:
			return nil
		case there:
			_, err = b.ctr(key, "images", "import", b.archive).run(ctx)
			return err
		}
		if _, err := b.ctr(key, "images", "rm", "--sync", fullName).run(ctx); err != nil {
			return err
		}
		return b.emptied(ctx, key, ctrNamespace)
	}
}

// named wants containerd to have the image's manifest under its name, with every
// blob.
func (b *bench) named(key string) check {
	return func(ctx context.Context) error {
		list, err := output(ctx, b.ctr(key, "images", "check", "name=="+fullName).args...)
		if err != nil {
			return err
		}
		if !strings.Contains(list, b.checker.image.Desc.Digest.String()) || !strings.Contains(list, "complete (") {
			return fmt.Errorf("containerd says of the image\n%s", list)
		}
		return nil
	}
}

// both is one after the other.
func both(first, second func(ctx context.Context) error) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		if err := first(ctx); err != nil {
			return err
		}
		return second(ctx)
	}
}

// emptied waits until containerd has collected what no image reaches: who found
// it there would not have to bring it.
func (b *bench) emptied(ctx context.Context, key, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, emptyLimit)
	defer cancel()
	list := []string{b.env.values["CTR"], "--address", b.env.values[key], "--namespace", namespace}
	for {
		blobs, err := output(ctx, append(list, "content", "ls", "-q")...)
		if err != nil {
			return err
		}
		snapshots, err := output(ctx, append(list, "snapshots", "ls")...)
		if err != nil {
			return err
		}
		if blobs == "" && strings.Count(snapshots, "\n") == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("namespace %s of containerd still holds blobs or snapshots: %w", namespace, ctx.Err())
		case <-time.After(idleLook):
		}
	}
}
