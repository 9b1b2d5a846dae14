package main

import (
	"context"
	"fmt"
	"strconv"
)

// pulls is a client, or many, that pull.
func pulls(host, name string, clients int, most int64) command {
	return self(drainName, host, name, "1", strconv.Itoa(clients), strconv.FormatInt(most, 10), "")
}

// fromUpstream is a proxy of the registry that has the image.
func (b *bench) fromUpstream(trial) proxyOptions { return proxyOptions{upstream: b.registry.host} }

// direct is a contender that pulls from the registry that has the image.
func (b *bench) direct(clients int, most int64) contender {
	return contender{name: straight, start: func(context.Context, trial) (attempt, error) {
		return told(attempt{command: pulls(b.registry.host, b.source().name, clients, most)}, nil), nil
	}}
}

func (b *bench) mirrored() string { return upPrefix + "/" + b.source().name }

// proxyHit pulls what the proxy has.
func (b *bench) proxyHit() job {
	return job{
		name: "proxy: pull, hit",
		note: "A client of this program's own pulls, four blobs at once, and throws away what it reads.",
		contenders: []contender{
			b.through(ours, "", b.fromUpstream, func(ctx context.Context, _ trial, w *proxyWorld) (attempt, error) {
				_, err := pulls(w.proxy.host, b.mirrored(), 1, 0).run(ctx)
				return told(attempt{command: pulls(w.proxy.host, b.mirrored(), 1, 0)}, nil), err
			}),
			b.direct(1, 0),
		},
		wants: []want{noSlower(straight, hitFactor)},
	}
}

// proxyMiss pulls what the proxy has not.
func (b *bench) proxyMiss() job {
	const verified, verifiedStraight = "occystrap, crane pull", "distribution, crane pull"
	return job{
		name: "proxy: pull, miss",
		note: "The store is empty. The proxy verifies and writes what it hands on, as crane does, and the client of our own does neither; all share the machine with upstream.",
		contenders: []contender{
			b.through(ours, "", b.fromUpstream, func(_ context.Context, _ trial, w *proxyWorld) (attempt, error) {
				return told(attempt{command: pulls(w.proxy.host, b.mirrored(), 1, 0)}, nil), nil
			}),
			b.direct(1, 0),
			b.through(verified, "CRANE", b.fromUpstream, func(_ context.Context, t trial, w *proxyWorld) (attempt, error) {
				return b.cranePull(w.proxy.at(b.mirrored()), t), nil
			}),
			{name: verifiedStraight, tool: "CRANE", start: func(_ context.Context, t trial) (attempt, error) {
				return b.cranePull(b.source(), t), nil
			}},
		},
		wants: []want{noSlower(straight, missFactor), notBehind(verified, verifiedStraight, missFactor), firstWithin(straight, firstLimit)},
	}
}

// proxyFar pulls what the proxy has not, from an upstream that is elsewhere.
func (b *bench) proxyFar() job {
	return job{
		name: "proxy: pull, miss, over a line",
		note: fmt.Sprintf("Between upstream and whoever pulls from it is a relay that lets %d MB a second through, as a line of 1 Gbit/s does.", lineRate/1_000_000),
		contenders: []contender{
			b.through(ours, "", func(trial) proxyOptions { return proxyOptions{upstream: b.registry.host, far: true} }, func(_ context.Context, _ trial, w *proxyWorld) (attempt, error) {
				return told(attempt{command: pulls(w.proxy.host, b.mirrored(), 1, 0)}, nil), nil
			}),
			{name: straight, start: func(ctx context.Context, _ trial) (attempt, error) {
				line, err := startLine(ctx, b.registry.host)
				if err != nil {
					return attempt{}, err
				}
				return told(attempt{command: pulls(line.host, b.source().name, 1, 0), end: line.stop}, nil), nil
			}},
		},
		wants: []want{noSlower(straight, missFactor), firstWithin(straight, firstLimit)},
	}
}

func (b *bench) cranePull(from repository, t trial) attempt {
	return attempt{command: command{args: []string{b.env.values["CRANE"], "pull", from.ref(), t.out}}, check: b.checker.unchangedArchive(t.out, sameBlobs)}
}

// proxyHeads asks for a manifest over and over.
func (b *bench) proxyHeads() job {
	requests := headCount
	if b.quick {
		requests /= 100
	}
	ask := func(host, name string) attempt {
		return told(attempt{command: self(headsName, host, "/v2/"+name+"/manifests/1", strconv.Itoa(requests), strconv.Itoa(headConnections))}, nil)
	}
	return job{
		name: "proxy: HEAD of a manifest",
		note: fmt.Sprintf("%d requests over %d connections that are kept, by a client of this program's own.", requests, headConnections),
		contenders: []contender{
			b.through(ours, "", b.fromUpstream, func(ctx context.Context, _ trial, w *proxyWorld) (attempt, error) {
				_, err := pulls(w.proxy.host, b.mirrored(), 1, 1).run(ctx)
				return ask(w.proxy.host, b.mirrored()), err
			}),
			b.through("occystrap, a name that was pushed", "", func(trial) proxyOptions { return proxyOptions{} }, func(ctx context.Context, t trial, w *proxyWorld) (attempt, error) {
				_, err := b.pushes(w.proxy.host, t.name, 1, clientsAtOnce).run(ctx)
				return ask(w.proxy.host, t.name), err
			}),
			{name: straight, start: func(context.Context, trial) (attempt, error) { return ask(b.registry.host, b.source().name), nil }},
		},
		wants: []want{rateOf(headRate), p99Of(headP99)},
	}
}

// proxyMany has many clients pull one image that the proxy has not.
func (b *bench) proxyMany() job {
	blobs := int64(1) // the config
	for _, l := range b.checker.image.Layers {
		if l.Size <= manyMost {
			blobs++
		}
	}
	var c *counter
	return job{
		name: fmt.Sprintf("proxy: %d clients pull a new image", manyClients), most: lonelyRounds,
		note: fmt.Sprintf("Of its layers those of at most %d MiB.", manyMost>>20),
		contenders: []contender{
			{name: ours, start: func(ctx context.Context, t trial) (attempt, error) {
				var err error
				if c, err = b.registry.count(ctx); err != nil {
					return attempt{}, err
				}
				w, err := b.startProxy(ctx, t.out+"-proxy", proxyOptions{upstream: c.host})
				end := func() error { _ = c.server.Close(); return w.end() }
				if err != nil {
					return attempt{end: end}, err
				}
				a := told(attempt{command: pulls(w.proxy.host, b.mirrored(), manyClients, manyMost), end: end, servers: w.servers()}, func(sum *amounts) {
					sum.Fetches, sum.Sidecar = c.fetches.Load(), w.memory("VmHWM")
				})
				return a, nil
			}},
			b.direct(manyClients, manyMost),
		},
		wants: []want{fetched(blobs), memoryOf(proxyMemory)},
	}
}
