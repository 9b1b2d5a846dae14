package main

import (
	"context"
	"slices"
	"strings"
	"time"
)

// The figures that are wanted besides maxMemory.
const (
	normalizeFactor = 15                     // times faster than regctl image mod
	excludeFactor   = 10                     // the same, leaving files out
	judgeFactor     = 1.3                    // of inflating each layer once
	heldLimit       = 200 * time.Millisecond // an image that is already there
	startLimitTime  = 50 * time.Millisecond  // of "occystrap version"
)

// memoryRounds is how often jobs run whose time is held against no figure;
// lonelyRounds, where there is no peer either.
const (
	memoryRounds = 2
	lonelyRounds = 1
)

// startRounds is how often programs start that do nothing.
const startRounds = 100

// The filters of the jobs.
const (
	normalizeFilter = "normalize-timestamps"
	nothingFilter   = "exclude:pattern=**/no-such-name-ever"
	someFilter      = "exclude:pattern=usr/share/man/**,**/*.pyc"

	documentationFilter = "exclude:pattern=usr/share/doc/**,usr/share/man/**,usr/share/locale/**"
)

// documentation are the folders that documentationFilter empties.
var documentation = []string{"usr/share/doc", "usr/share/man", "usr/share/locale"}

// epoch is what normalize-timestamps sets by default.
var epoch = time.Unix(0, 0)

// jobs are all there are, in the order in which they run.
func (b *bench) jobs() []job {
	all := []job{
		b.startUp(),
		b.pullToTar(),
		b.heldImage(),
		b.freshRepository(),
		b.otherRegistry(),
		b.matchNothing(),
		b.normalize(),
		b.exclude(),
		b.searchJob(),
		b.archiveSearchJob(),
		b.infoJob(),
		b.checkJob(),
		b.cachedJob(),
		b.expandJob(),
		b.inflateJob(),
		b.transcodeJob(),
		b.parallelJob(),
	}
	return slices.Concat(all, b.archiveJobs(), b.daemonJobs(), b.lanesOut(), b.lanesIn(), b.proxyJobs())
}

// startUp is the shortest that each program does.
func (b *bench) startUp() job {
	version := func(name, key string, args ...string) contender {
		return b.peer(name, key, func(trial) ([]string, check) { return args, nil })
	}
	return job{
		name: "start-up", short: true,
		note: "100 runs. skopeo starts through a shell script of contrib/testenv.",
		contenders: []contender{
			{name: ours, start: func(context.Context, trial) (attempt, error) {
				return attempt{command: command{args: []string{b.program, "version"}}}, nil
			}},
			version("crane version", "CRANE", "version"),
			version("regctl version", "REGCTL", "version"),
			version("skopeo --version", "SKOPEO", "--version"),
		},
		wants: []want{below(startLimitTime), littleMemory()},
	}
}

// pullToTar writes the image to an archive.
func (b *bench) pullToTar() job {
	ref := b.source().ref()
	const crane, regctl, skopeo = "crane pull", "regctl image export", "skopeo copy oci:"
	return job{
		name: "registry to tar",
		contenders: []contender{
			b.occystrap("registry://"+ref, b.toTar),
			b.peer(crane, "CRANE", func(t trial) ([]string, check) {
				// Its archive has no manifest.
				return []string{"pull", ref, t.out}, b.checker.unchangedArchive(t.out, sameBlobs)
			}),
			b.peer(regctl, "REGCTL", func(t trial) ([]string, check) {
				return []string{"image", "export", ref, t.out}, b.checker.unchangedArchive(t.out, sameManifest)
			}),
			b.peer(skopeo, "SKOPEO", func(t trial) ([]string, check) {
				return []string{"copy", "docker://" + ref, "oci:" + t.out + ":1"}, b.checker.unchangedArchive(t.out, sameBlobs)
			}),
			b.peer("skopeo copy oci-archive:", "SKOPEO", func(t trial) ([]string, check) {
				return []string{"copy", "docker://" + ref, "oci-archive:" + t.out + ":1"}, b.checker.unchangedArchive(t.out, sameBlobs)
			}),
		},
		wants: []want{aheadOf(crane), aheadOf(regctl), aheadOf(skopeo), littleMemory()},
	}
}

// toTar is an archive that holds the image unchanged.
func (b *bench) toTar(t trial) (string, check) {
	return "tar://" + t.out, b.checker.unchangedArchive(t.out, sameManifest)
}

// heldImage copies an image to where it is.
func (b *bench) heldImage() job {
	return b.copies(job{
		name:  "registry to registry, already there",
		wants: []want{below(heldLimit), littleMemory()},
	}, func(trial) repository { return b.registry.at("held") })
}

// freshRepository copies to another repository, where blobs can be mounted.
func (b *bench) freshRepository() job {
	return b.copies(job{
		name: "registry to registry, other repository", most: memoryRounds,
		wants: []want{littleMemory()},
	}, func(t trial) repository { return b.registry.at(t.name) })
}

// otherRegistry copies to a second registry: every byte goes through.
func (b *bench) otherRegistry() job {
	return b.copies(job{
		name: "registry to registry, other host", most: memoryRounds,
		note:  "skopeo remembers from one run to the next where blobs are, and mounts them.",
		wants: []want{littleMemory()},
	}, func(t trial) repository { return b.other.at(t.name) })
}

// copies fills in who copies from registry to registry.
func (b *bench) copies(j job, to func(trial) repository) job {
	from := b.source().ref()
	copied := func(prefix, words string) func(t trial) ([]string, check) {
		return func(t trial) ([]string, check) {
			d := to(t)
			return append(strings.Fields(words), prefix+from, prefix+d.ref()), b.checker.unchangedRepository(d)
		}
	}
	j.contenders = []contender{
		b.occystrap("registry://"+from, func(t trial) (string, check) {
			return "registry://" + to(t).ref(), b.checker.unchangedRepository(to(t))
		}),
		b.peer("crane copy", "CRANE", copied("", "copy")),
		b.peer("regctl image copy", "REGCTL", copied("", "image copy")),
		b.peer("skopeo copy", "SKOPEO", copied("docker://", "copy")),
	}
	return j
}
