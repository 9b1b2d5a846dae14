package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// What is wanted of the proxy.
const (
	hitFactor     = 1.1                    // of a pull straight from the registry
	missFactor    = 1.15                   // of a pull straight from upstream
	throughFactor = 1.2                    // of a push straight to the registry
	firstLimit    = 50 * time.Millisecond  // between upstream's first byte of a layer and ours
	headRate      = 5000                   // HEAD of a manifest a second
	headP99       = 5 * time.Millisecond   //
	proxyMemory   = 256 << 20              // resident, whatever is pushed
	idleMemory    = 30 << 20               // anonymous
	coldLimit     = 150 * time.Millisecond // from a socket without a process to an answer
)

// What the jobs of the proxy do.
const (
	headCount       = 50_000
	headConnections = 16
	manyClients     = 200
	manyMost        = 64 << 20 // bytes of the layers that so many clients pull
	manyPushes      = 64       // blobs that are pushed at once
	clientsAtOnce   = 4        // blobs of one image
)

// straight is the registry without a proxy before it.
const straight = "distribution"

// proxyJobs hold the proxy against the registry that is behind it.
func (b *bench) proxyJobs() []job {
	all := []job{b.proxyHit(), b.proxyMiss(), b.proxyFar(), b.proxyPush(), b.proxyNormalize(), b.proxyHeads(), b.proxyMany(), b.proxyPushes(), b.proxyPushes(normalizeFilter), b.proxyCold()}
	for n := range all {
		all[n].daemons = true
	}
	return all
}

// self is a call of this program as one of its clients.
func self(args ...string) command {
	program, err := os.Executable()
	if err != nil {
		program = os.Args[0]
	}
	return command{args: append([]string{program}, args...)}
}

// pulls is a client, or many, that pull.
func pulls(host, name string, clients int, most int64) command {
	return self(drainName, host, name, "1", strconv.Itoa(clients), strconv.FormatInt(most, 10), "")
}

// told has an attempt's client say what it found.
func told(a attempt, more func(*amounts)) attempt {
	var out bytes.Buffer
	a.out = &out
	a.amount = func(context.Context) (amounts, error) {
		var t clientTold
		if err := json.Unmarshal(out.Bytes(), &t); err != nil {
			return amounts{}, fmt.Errorf("read what the client told: %w", err)
		}
		sum := amounts{First: t.First, Rate: t.Rate, P99: t.P99}
		if more != nil {
			more(&sum)
		}
		return sum, nil
	}
	return a
}

// through is a contender that has a proxy of its own for each run.
func (b *bench) through(name, tool string, o func(t trial) proxyOptions, run func(ctx context.Context, t trial, w *proxyWorld) (attempt, error)) contender {
	return contender{name: name, tool: tool, start: func(ctx context.Context, t trial) (attempt, error) {
		w, err := b.startProxy(ctx, t.out+"-proxy", o(t))
		if err != nil {
			return attempt{end: w.end}, err
		}
		a, err := run(ctx, t, w)
		a.end, a.servers = w.end, w.servers()
		return a, err
	}}
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

// proxyCold is the time from a socket that systemd holds to an answer.
func (b *bench) proxyCold() job {
	return job{
		name: "proxy: cold socket to first answer",
		note: "systemd-socket-activate holds the socket. The time is that of a client of this program's own, whose start is in it. Anonymous memory is that after the answer, when nothing goes on any more.",
		contenders: []contender{
			b.through(ours, "SOCKET_ACTIVATE", func(trial) proxyOptions { return proxyOptions{activate: true} }, func(_ context.Context, _ trial, w *proxyWorld) (attempt, error) {
				a := attempt{command: self(firstName, w.proxy.host)}
				a.amount = func(ctx context.Context) (amounts, error) { return w.idle(ctx) }
				return a, nil
			}),
		},
		wants: []want{below(coldLimit), idleOf(idleMemory)},
	}
}

// idle is what a proxy has when it has nothing to do.
func (w *proxyWorld) idle(ctx context.Context) (amounts, error) {
	const settled = 3 * time.Second
	if err := w.proxy.answers(ctx); err != nil {
		return amounts{}, err
	}
	select {
	case <-ctx.Done():
	case <-time.After(settled):
	}
	return amounts{Idle: w.memory("RssAnon")}, ctx.Err()
}

// listens waits until the kernel has a socket at the address; nobody connects.
func (r *registry) listens(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	_, port, _ := strings.Cut(r.host, ":")
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	line := fmt.Sprintf(":%04X 00000000:0000 0A ", n) // proc_net_tcp(5): LISTEN
	for !strings.Contains(content("/proc/net/tcp"), line) {
		select {
		case <-r.done:
			return fmt.Errorf("what should listen at %s has ended: %s", r.host, r.log)
		case <-ctx.Done():
			return fmt.Errorf("nobody listens at %s: %w", r.host, ctx.Err())
		case <-time.After(idleLook / 10): //nolint:mnd // soon
		}
	}
	return nil
}
