package main

import (
	"path/filepath"
)

// The figures that are wanted of lanes, as issue 4 had them.
const (
	contentFactor = 8   // times faster than docker save, by the content store
	pushFactor    = 3.5 // by a push
	layersFactor  = 5   // out of overlay2
	copyFactor    = 3   // times slower than copying the result at most
	secondFactor  = 50  // to a Docker that lacks one small layer
	exportFactor  = 4
	loadFactor    = 2   // into the containerd store, as root
	socketFactor  = 1.5 // by containerd's socket
	pullFactor    = 1.2
	topFactor     = 15   // one small layer
	noiseFactor   = 1.05 // of two that take the same time
)

// lanesOut take the image out of daemons.
func (b *bench) lanesOut() []job {
	return []job{b.storeToTar(), b.overlayToTar(), b.containerdToTar(), b.dockerToDocker()}
}

const lanesNote = "With daemons of its own. \"occystrap\" is root; a user may talk to Docker, and to what else is said. Of all clients only the wall time compares: the daemon's work is not in user and system. "

func (b *bench) storeToTar() job {
	ready := b.with(storeDaemon, true, false)
	content := []string{"content"}
	out := func(t trial) (string, string, check) {
		return b.at(storeDaemon), "tar://" + t.out, b.checker.unchangedArchive(t.out, sameManifest)
	}
	return job{
		name: "lanes: Docker, containerd store, to tar", daemons: true, lanes: true,
		note: lanesNote + "Lanes: content, content by descriptors that the sidecar lends, push.",
		contenders: []contender{
			b.lane(lane{name: ours, by: content, ready: ready, run: out}),
			b.lane(lane{name: bySidecar, groups: []uint32{memberGroup}, sidecar: true, by: content, ready: ready, run: out}),
			b.lane(lane{name: alone, groups: []uint32{memberGroup}, by: []string{"push"}, ready: ready, run: out}),
			b.laneOf(dockerSave, ready, func(t trial) attempt {
				return attempt{command: b.docker(storeDaemon, "save", "-o", t.out, imageName), check: b.checker.unchangedArchive(t.out, sameManifest)}
			}),
			b.laneOf(copyOfFile, ready, func(t trial) attempt {
				return attempt{command: command{args: []string{"cp", b.archive, t.out}}}
			}),
		},
		wants: []want{
			timesFaster(dockerSave, contentFactor), noSlower(copyOfFile, copyFactor),
			between(bySidecar, dockerSave, contentFactor), between(alone, dockerSave, pushFactor), littleMemory(), sidecarMemory(bySidecar),
		},
	}
}

func (b *bench) overlayToTar() job {
	ready := b.with(overlayDaemon, true, false)
	layers := []string{"layers"}
	out := func(t trial) (string, string, check) {
		return b.at(overlayDaemon), "tar://" + t.out, b.checker.changedArchive(t.out, change{})
	}
	return job{
		name: "lanes: Docker, overlay2, to tar", daemons: true, lanes: true,
		note: lanesNote + "Lanes: layers, layers through the sidecar's pipe.",
		contenders: []contender{
			b.lane(lane{name: ours, by: layers, ready: ready, run: out}),
			b.lane(lane{name: bySidecar, groups: []uint32{memberGroup}, sidecar: true, by: layers, ready: ready, run: out}),
			b.laneOf(dockerSave, ready, func(t trial) attempt {
				return attempt{command: b.docker(overlayDaemon, "save", "-o", t.out, imageName), check: b.checker.changedArchive(t.out, change{})}
			}),
		},
		wants: []want{timesFaster(dockerSave, layersFactor), between(bySidecar, dockerSave, layersFactor), littleMemory(), sidecarMemory(bySidecar)},
	}
}

func (b *bench) containerdToTar() job {
	ready := b.imported(containerdKey, true)
	return job{
		name: "lanes: containerd to tar", daemons: true, lanes: true,
		contenders: []contender{
			b.lane(lane{name: ours, ready: ready, run: func(t trial) (string, string, check) {
				return b.inContainerd(containerdKey), "tar://" + t.out, b.checker.unchangedArchive(t.out, sameManifest)
			}}),
			b.laneOf(ctrExport, ready, func(t trial) attempt {
				return attempt{command: b.ctr(containerdKey, "images", "export", "--local", t.out, fullName), check: b.checker.unchangedArchive(t.out, sameManifest)}
			}),
		},
		wants: []want{timesFaster(ctrExport, exportFactor), littleMemory()},
	}
}

func (b *bench) dockerToDocker() job {
	ready := both(b.with(storeDaemon, true, false), b.with(secondDaemon, false, true))
	return job{
		name: "lanes: Docker to a second Docker, top layer new", daemons: true, lanes: true,
		note: "Both with the containerd store, each on a containerd of its own; the second one has all layers but the last, which is small.",
		contenders: []contender{
			b.lane(lane{name: ours, by: []string{"content", "content"}, ready: ready, run: func(trial) (string, string, check) {
				return b.at(storeDaemon), b.at(secondDaemon), b.sameLayers(secondDaemon)
			}}),
			b.laneOf(saveToLoad, ready, func(trial) attempt {
				const script = `"$0" --host "$1" save "$3" | "$0" --host "$2" load`
				args := []string{"sh", "-c", script, b.env.values["DOCKER"], b.env.values[storeKey], b.env.values[secondKey], imageName}
				return attempt{command: command{args: args}, check: b.sameLayers(secondDaemon)}
			}),
		},
		wants: []want{timesFaster(saveToLoad, secondFactor), littleMemory()},
	}
}

// image is the archive as somebody may read it.
func (b *bench) imageFor(groups []uint32) string {
	if groups == nil {
		return "tar://" + b.archive
	}
	return "tar://" + filepath.Join(b.farm.room, "image.tar")
}
