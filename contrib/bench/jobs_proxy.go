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
