package main

import (
	"context"
	"fmt"
	"strconv"
)

// pushes is a client that pushes the image.
func (b *bench) pushes(host, name string, copies, atOnce int) command {
	return self(sendName, b.layout, host, name, "1", strconv.Itoa(copies), strconv.Itoa(atOnce))
}

// proxyPush pushes through the proxy, without filters.
func (b *bench) proxyPush() job {
	return job{
		name: "proxy: push",
		note: "A client of this program's own pushes, four blobs at once. The registry behind is empty each time.",
		contenders: []contender{
			b.through(ours, "", func(trial) proxyOptions { return proxyOptions{down: true} }, func(_ context.Context, t trial, w *proxyWorld) (attempt, error) {
				return attempt{command: b.pushes(w.proxy.host, t.name, 1, clientsAtOnce), check: b.checker.unchangedRepository(w.down.at(t.name))}, nil
			}),
			b.toEmpty(straight, func(t trial, r *registry) attempt {
				return attempt{command: b.pushes(r.host, t.name, 1, clientsAtOnce), check: b.checker.unchangedRepository(r.at(t.name))}
			}),
		},
		wants: []want{noSlower(straight, throughFactor)},
	}
}

// toEmpty is a contender that writes to an empty registry.
func (b *bench) toEmpty(name string, run func(t trial, r *registry) attempt) contender {
	return contender{name: name, start: func(ctx context.Context, t trial) (attempt, error) {
		dir := t.out + "-registry"
		r, err := startRegistry(ctx, b.env.values["REGISTRY_BIN"], dir)
		if err != nil {
			return attempt{leaves: []string{dir}}, err
		}
		a := run(t, r)
		a.end, a.servers, a.leaves = r.stop, []int{r.cmd.Process.Pid}, append(a.leaves, dir)
		return a, nil
	}}
}

// proxyNormalize pushes through a filter. The peer is the same without a proxy.
func (b *bench) proxyNormalize() job {
	const process = "occystrap process"
	how := change{times: epoch}
	return job{
		name: "proxy: push, " + normalizeFilter,
		contenders: []contender{
			b.through(ours, "", func(trial) proxyOptions { return proxyOptions{down: true, filters: []string{normalizeFilter}} }, func(_ context.Context, t trial, w *proxyWorld) (attempt, error) {
				return attempt{command: b.pushes(w.proxy.host, t.name, 1, clientsAtOnce), check: b.checker.changedRepository(w.down.at(t.name), how)}, nil
			}),
			b.toEmpty(process, func(t trial, r *registry) attempt {
				return attempt{command: b.process("registry://"+b.source().ref(), "registry://"+r.at(t.name).ref(), normalizeFilter), check: b.checker.changedRepository(r.at(t.name), how)}
			}),
		},
		wants: []want{noSlower(process, throughFactor)},
	}
}

// proxyPushes has so many blobs pushed at once that memory would tell.
func (b *bench) proxyPushes(filters ...string) job {
	blobs := max(len(b.checker.image.Layers), 1)
	copies := (manyPushes + blobs - 1) / blobs
	return job{
		name: fmt.Sprintf("proxy: %d pushes of layers at once%s", manyPushes, suffix(filters)), most: lonelyRounds,
		note: "All layers of the image at once, into as many repositories as that takes.",
		contenders: []contender{
			b.through(ours, "", func(trial) proxyOptions { return proxyOptions{down: true, filters: filters} }, func(_ context.Context, t trial, w *proxyWorld) (attempt, error) {
				a := attempt{command: b.pushes(w.proxy.host, t.name, copies, blobs+1)}
				a.amount = func(context.Context) (amounts, error) { return amounts{Sidecar: w.memory("VmHWM")}, nil }
				return a, nil
			}),
		},
		wants: []want{memoryOf(proxyMemory)},
	}
}
