package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A dockerDaemon is one of the test environment's.
type dockerDaemon struct {
	name string // as the table calls it
	key  string // of the test environment
}

// dockerDaemons are those that -daemons measures.
var dockerDaemons = []dockerDaemon{
	{"Docker 29, containerd store", "DOCKER29"},
	{"Docker 29, overlay2", "DOCKER29_OVERLAY2"},
}

// daemonJobs move the image from and to Docker. They are slow, and most of their
// time is the daemon's: only the wall time is that of the whole.
func (b *bench) daemonJobs() []job {
	var all []job
	for _, d := range dockerDaemons {
		all = append(all,
			b.fromDaemon(d, "registry", change{}), b.fromDaemon(d, "registry", change{times: epoch}, normalizeFilter),
			b.fromDaemon(d, "tar", change{times: epoch}, normalizeFilter),
			b.toDaemon(d, "registry"), b.toDaemon(d, "registry", normalizeFilter), b.toDaemon(d, "tar", normalizeFilter),
		)
	}
	return all
}

// docker calls the client for a daemon.
func (b *bench) docker(d dockerDaemon, args ...string) command {
	return command{
		args: append([]string{b.env.values["DOCKER"]}, args...),
		env:  []string{"DOCKER_HOST=" + b.env.values[d.key]},
	}
}

// fromDaemon and toDaemon are the other pairs, for the sake of their memory.
func (b *bench) fromDaemon(d dockerDaemon, to string, how change, filters ...string) job {
	return job{
		name: d.name + " to " + to + suffix(filters), most: lonelyRounds, daemons: true,
		wants: []want{littleMemory()},
		contenders: []contender{b.onDaemon(d, ours, b.loaded, func(t trial) attempt {
			if to == "tar" {
				return attempt{command: b.process("docker://"+imageName, "tar://"+t.out, filters...), check: b.checker.changedArchive(t.out, how)}
			}
			r := b.registry.at(t.name)
			return attempt{command: b.process("docker://"+imageName, "registry://"+r.ref(), filters...), check: b.checker.changedRepository(r, how)}
		})},
	}
}

func (b *bench) toDaemon(d dockerDaemon, from string, filters ...string) job {
	source := map[string]string{"tar": "tar://" + b.archive, "registry": "registry://" + b.source().ref()}[from]
	return job{
		name: from + " to " + d.name + suffix(filters), most: lonelyRounds, daemons: true,
		wants: []want{littleMemory()},
		contenders: []contender{b.onDaemon(d, ours, b.removed, func(trial) attempt {
			look := b.sameLayers(d)
			if len(filters) > 0 {
				look = b.otherLayers(d)
			}
			return attempt{command: b.process(source, "docker://"+imageName, filters...), check: look}
		})},
	}
}

func suffix(filters []string) string {
	if len(filters) == 0 {
		return ""
	}
	return ", " + filters[0]
}

// onDaemon is a contender that talks to a daemon, which is made ready first.
func (b *bench) onDaemon(d dockerDaemon, name string, ready func(context.Context, dockerDaemon) error, start func(trial) attempt) contender {
	return contender{name: name, tool: d.key, start: func(ctx context.Context, t trial) (attempt, error) {
		if err := ready(ctx, d); err != nil {
			return attempt{}, err
		}
		a := start(t)
		a.env = append(a.env, "DOCKER_HOST="+b.env.values[d.key])
		return a, nil
	}}
}

// loaded makes sure that the daemon holds the image as it is in the archive.
func (b *bench) loaded(ctx context.Context, d dockerDaemon) error {
	if b.sameLayers(d)(ctx) == nil {
		return nil
	}
	_, err := b.docker(d, "load", "-i", b.archive).run(ctx)
	return err
}

// removed makes sure that the daemon does not hold the image.
func (b *bench) removed(ctx context.Context, d dockerDaemon) error {
	return b.without(ctx, d, imageName)
}

// without makes sure that the daemon does not hold an image.
func (b *bench) without(ctx context.Context, d dockerDaemon, name string) error {
	if _, err := b.layersAt(ctx, d, name); err != nil {
		return ctx.Err()
	}
	_, err := b.docker(d, "image", "rm", "--force", name).run(ctx)
	return err
}

// leaveDaemons takes the image out of those that answer.
func (b *bench) leaveDaemons(ctx context.Context) error {
	var errs []error
	for _, d := range dockerDaemons {
		if b.env.values[d.key] != "" {
			errs = append(errs, b.removed(ctx, d))
		}
	}
	return errors.Join(errs...)
}

// sameLayers wants the image's diff IDs in the daemon, otherLayers as many that
// differ.
func (b *bench) sameLayers(d dockerDaemon) check {
	return func(ctx context.Context) error { return b.compareLayers(ctx, d, true) }
}

func (b *bench) otherLayers(d dockerDaemon) check {
	return func(ctx context.Context) error { return b.compareLayers(ctx, d, false) }
}

func (b *bench) compareLayers(ctx context.Context, d dockerDaemon, same bool) error {
	raw, err := readBlob(ctx, b.checker.from, b.checker.image.Config)
	if err != nil {
		return err
	}
	var config ocispec.Image
	if err := json.Unmarshal(raw, &config); err != nil {
		return err
	}
	got, err := b.layersAt(ctx, d, imageName)
	if err != nil {
		return err
	}
	if len(got) != len(config.RootFS.DiffIDs) || slices.Equal(got, config.RootFS.DiffIDs) != same {
		return fmt.Errorf("%s has the layers %v", d.name, got)
	}
	return nil
}

func (b *bench) layersAt(ctx context.Context, d dockerDaemon, name string) ([]digest.Digest, error) {
	var out tailWriter
	c := b.docker(d, "image", "inspect", "--format", "{{json .RootFS.Layers}}", name)
	c.out = &out
	if _, err := c.run(ctx); err != nil {
		return nil, err
	}
	var layers []digest.Digest
	err := json.Unmarshal([]byte(out.String()), &layers)
	return layers, err
}
