package main

import "context"

// lanesIn bring the image into daemons.
func (b *bench) lanesIn() []job {
	return []job{
		b.tarToStore(), b.tarToOverlay(), b.topToDocker(secondDaemon), b.topToDocker(overlayDaemon), b.tarToContainerd(),
	}
}

// tarToStore brings the whole image into a Docker that has nothing.
func (b *bench) tarToStore() job {
	ready := b.with(secondDaemon, false, false)
	in := func(name, by string, groups ...uint32) contender {
		return b.lane(lane{name: name, by: []string{by}, groups: groups, ready: ready, run: func(trial) (string, string, check) {
			return b.imageFor(groups), b.at(secondDaemon), b.sameLayers(secondDaemon)
		}})
	}
	return job{
		name: "lanes: tar to Docker, containerd store, nothing there", daemons: true, lanes: true,
		note:       lanesNote + "Lanes: content, content by containerd's API alone, pull.",
		contenders: []contender{in(ours, "content"), in(bySocket, "content", memberGroup, contentGroup), in(alone, "pull", memberGroup), b.dockerLoad(secondDaemon, ready)},
		wants: []want{
			timesFaster(dockerLoad, loadFactor), between(bySocket, dockerLoad, socketFactor), between(alone, dockerLoad, pullFactor), littleMemory(),
		},
	}
}

// dockerLoad is the peer: it loads the whole archive.
func (b *bench) dockerLoad(d dockerDaemon, ready func(ctx context.Context) error) contender {
	return b.laneOf(dockerLoad, ready, func(trial) attempt {
		return attempt{command: b.docker(d, "load", "-i", b.archive), check: b.sameLayers(d)}
	})
}

func (b *bench) tarToOverlay() job {
	return b.tarTo("lanes: tar to Docker, overlay2, nothing there", overlayDaemon, false, noSlower(dockerLoad, noiseFactor))
}

// topToDocker brings the image into a Docker that has all but its last layer.
func (b *bench) topToDocker(d dockerDaemon) job {
	store := map[string]string{secondKey: "containerd store", overlayKey: "overlay2"}[d.key]
	return b.tarTo("lanes: tar to Docker, "+store+", top layer new", d, true, timesFaster(dockerLoad, topFactor))
}

// tarTo brings the image into a Docker that has nothing, or most of it.
func (b *bench) tarTo(name string, d dockerDaemon, most bool, reach want) job {
	by := map[string]string{secondKey: "content", overlayKey: "load"}[d.key]
	ready := b.with(d, false, most)
	return job{
		name: name, daemons: true, lanes: true,
		contenders: []contender{
			b.lane(lane{name: ours, by: []string{by}, ready: ready, run: func(trial) (string, string, check) {
				return b.imageFor(nil), b.at(d), b.sameLayers(d)
			}}),
			b.dockerLoad(d, ready),
		},
		wants: []want{reach, littleMemory()},
	}
}

func (b *bench) tarToContainerd() job {
	ready := both(b.with(secondDaemon, false, false), b.imported(otherKey, false))
	return job{
		name: "lanes: tar to containerd, nothing there", daemons: true, lanes: true,
		note: "Both unpack the image.",
		contenders: []contender{
			b.lane(lane{name: ours, ready: ready, run: func(trial) (string, string, check) {
				return b.imageFor(nil), b.inContainerd(otherKey), b.named(otherKey)
			}}),
			b.laneOf(ctrImport, ready, func(trial) attempt {
				return attempt{command: b.ctr(otherKey, "images", "import", b.archive), check: b.named(otherKey)}
			}),
		},
		wants: []want{aheadOf(ctrImport), littleMemory()},
	}
}
