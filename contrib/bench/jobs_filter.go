package main

import (
	"context"
	"os"
	"strings"
	"time"
)

// matchNothing looks into every layer and changes none.
func (b *bench) matchNothing() job {
	const baseline = "inflate each layer once"
	return job{
		name: "registry to registry, a filter that matches nothing",
		note: "The baseline fetches, verifies and inflates four layers at once and keeps nothing; gzip -dc reads files.",
		contenders: []contender{
			b.occystrap("registry://"+b.source().ref(), func(t trial) (string, check) {
				d := b.registry.at(t.name)
				return "registry://" + d.ref(), b.checker.unchangedRepository(d)
			}, nothingFilter),
			{name: baseline, start: func(context.Context, trial) (attempt, error) {
				c, err := inflateCommand(b.source())
				return attempt{command: c}, err
			}},
			{name: "gzip -dc, four at once", start: func(context.Context, trial) (attempt, error) {
				return attempt{command: command{
					args:  []string{"xargs", "-P", "4", "-n", "1", "gzip", "-dc"},
					stdin: strings.Join(b.blobs, "\n"),
					null:  true,
				}}, nil
			}},
		},
		wants: []want{withinOf(baseline), littleMemory()},
	}
}

// oursAnew is occystrap where it compresses every changed layer anew.
const oursAnew = ours + ", recompress=canonical"

// A mod is "regctl image mod" with options.
type mod struct {
	name    string
	options []string
	how     change
}

// normalize rewrites every layer.
func (b *bench) normalize() job {
	const regctl = "regctl image mod"
	return b.rewrites(job{
		name: "registry to registry, normalize-timestamps", most: slowRounds,
		note:  "All set every entry's time to 0 and write gzip to a repository that is new each time. occystrap: with recompress=transcode, unless it says otherwise.",
		wants: []want{timesFaster(regctl, normalizeFactor), littleMemory()},
	}, normalizeFilter, change{times: epoch}, mod{regctl, setTimes, change{times: epoch}})
}

// setTimes are regctl's options that set the times of all entries.
var setTimes = []string{"--layer-time", "set=" + epoch.UTC().Format(time.RFC3339)}

// exclude leaves folders out that many layers have files in.
func (b *bench) exclude() job {
	const strip = "regctl image mod"
	how := change{content: true, without: documentation}
	var options []string
	for _, dir := range documentation {
		options = append(options, "--layer-strip-file", "/"+dir)
	}
	return b.rewrites(job{
		name: "registry to registry, exclude documentation", most: slowRounds,
		note:  "All leave out what is below " + strings.Join(documentation, ", ") + ".",
		wants: []want{timesFaster(strip, excludeFactor), littleMemory()},
	}, documentationFilter, how, mod{strip, options, how})
}

// rewrites fills in who changes the image on its way to a repository that is new
// each time: occystrap with a filter, by editing layers in place and by
// compressing them anew, and regctl.
func (b *bench) rewrites(j job, filter string, how change, mods ...mod) job {
	from := b.source().ref()
	add := func(name, tool string, how change, call func(d repository) command) {
		j.contenders = append(j.contenders, contender{name: name, tool: tool, start: func(_ context.Context, t trial) (attempt, error) {
			d := b.registry.at(t.name)
			return attempt{
				command: call(d),
				check:   b.checker.changedRepository(d, how),
				amount: func(ctx context.Context) (amounts, error) {
					i, err := readImage(ctx, d)
					return amounts{Size: i.size()}, err
				},
			}, nil
		}})
	}
	mine := func(d repository, more ...string) command {
		c := b.process("registry://"+from, "registry://"+d.ref(), filter)
		c.args = append(c.args, more...)
		return c
	}
	add(ours, "", how, func(d repository) command { return mine(d, "--recompress", "transcode") })
	add(oursAnew, "", how, func(d repository) command { return mine(d, "--recompress", "canonical") })
	for _, m := range mods {
		add(m.name, "REGCTL", m.how, func(d repository) command {
			return b.tool("REGCTL", append([]string{"image", "mod", from, "--create", d.ref()}, m.options...)...)
		})
	}
	j.input = b.checker.image.size()
	return j
}

// archiveJobs are the other pairs of a registry and archives. Their memory is
// held against the limit; their times are told.
func (b *bench) archiveJobs() []job {
	registry, tar := "registry://"+b.source().ref(), "tar://"+b.archive
	all := []job{b.tarToRegistry(), b.tarToTar()}
	for _, j := range []struct {
		name, from string
		toTar      bool
		filters    []string
		how        change
	}{
		{"registry to tar, normalize-timestamps", registry, true, []string{normalizeFilter}, change{times: epoch}},
		{"registry to tar, exclude", registry, true, []string{someFilter}, change{content: true}},
		{"registry to registry, exclude and normalize-timestamps", registry, false, []string{someFilter, normalizeFilter}, change{times: epoch, content: true}},
		{"tar to registry, normalize-timestamps", tar, false, []string{normalizeFilter}, change{times: epoch}},
		{"tar to tar, normalize-timestamps", tar, true, []string{normalizeFilter}, change{times: epoch}},
		{"tar to tar, exclude", tar, true, []string{someFilter}, change{content: true}},
	} {
		all = append(all, job{
			name: j.name, most: lonelyRounds, wants: []want{littleMemory()},
			contenders: []contender{b.occystrap(j.from, func(t trial) (string, check) {
				if j.toTar {
					return "tar://" + t.out, b.checker.changedArchive(t.out, j.how)
				}
				d := b.registry.at(t.name)
				return "registry://" + d.ref(), b.checker.changedRepository(d, j.how)
			}, j.filters...)},
		})
	}
	return all
}

// tarToRegistry pushes an archive to the registry that does not hold the image
// in this repository.
func (b *bench) tarToRegistry() job {
	pushed := func(words string, args func(d repository) []string) func(t trial) ([]string, check) {
		return func(t trial) ([]string, check) {
			d := b.other.at(t.name)
			return append(strings.Fields(words), args(d)...), b.holdsLayers(d)
		}
	}
	return job{
		name: "tar to registry", most: memoryRounds,
		note:  "skopeo remembers from one run to the next where blobs are, and mounts them.",
		wants: []want{littleMemory()},
		contenders: []contender{
			b.occystrap("tar://"+b.archive, func(t trial) (string, check) {
				d := b.other.at(t.name)
				return "registry://" + d.ref(), b.checker.unchangedRepository(d)
			}),
			b.peer("crane push", "CRANE", pushed("push", func(d repository) []string { return []string{b.archive, d.ref()} })),
			b.peer("regctl image import", "REGCTL", pushed("image import", func(d repository) []string { return []string{d.ref(), b.archive} })),
			b.peer("skopeo copy oci-archive:", "SKOPEO", pushed("copy", func(d repository) []string {
				return []string{"oci-archive:" + b.archive, "docker://" + d.ref()}
			})),
		},
	}
}

// holdsLayers wants the image's layers and config under any manifest: crane
// reads manifest.json of the archive and makes a manifest of its own.
func (b *bench) holdsLayers(r repository) check {
	return func(ctx context.Context) error {
		for _, d := range b.checker.image.blobs() {
			if err := r.holds(ctx, d); err != nil {
				return err
			}
		}
		_, err := readImage(ctx, r)
		return err
	}
}

// tarToTar copies an archive.
func (b *bench) tarToTar() job {
	return job{
		name: "tar to tar", most: memoryRounds,
		wants: []want{littleMemory()},
		contenders: []contender{
			b.occystrap("tar://"+b.archive, b.toTar),
			b.peer("skopeo copy oci-archive:", "SKOPEO", func(t trial) ([]string, check) {
				return []string{"copy", "oci-archive:" + b.archive, "oci-archive:" + t.out + ":1"}, b.checker.unchangedArchive(t.out, sameBlobs)
			}),
			{name: "cp", start: func(_ context.Context, t trial) (attempt, error) {
				return attempt{
					command: command{args: []string{"cp", "--reflink=never", b.archive, t.out}},
					check:   func(context.Context) error { _, err := os.Stat(t.out); return err },
				}, nil
			}},
		},
	}
}
