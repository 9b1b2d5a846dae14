package main

import (
	"context"
	"path/filepath"
	"time"
)

// cachedLimit is for an image all of whose layers would have to be changed.
const cachedLimit = 300 * time.Millisecond

// cachedJob pushes an image whose layers a cache knows the outcomes of, to a
// repository that holds them.
func (b *bench) cachedJob() job {
	const name = "cached"
	how := change{times: epoch}
	from, to := "registry://"+b.source().ref(), b.other.at(name)
	push := func(t trial) command {
		c := b.process(from, "registry://"+to.ref(), normalizeFilter)
		c.args = append(c.args, "--layer-cache", filepath.Join(filepath.Dir(filepath.Dir(t.out)), name+".json"))
		return c
	}
	return job{
		name:  "registry to registry, normalize-timestamps, every layer cached",
		note:  "The first round fills the cache and does not count.",
		wants: []want{below(cachedLimit), littleMemory()},
		contenders: []contender{{name: ours, start: func(_ context.Context, t trial) (attempt, error) {
			return attempt{command: push(t), check: b.checker.changedRepository(to, how)}, nil
		}}},
	}
}
