package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// upPrefix is the first part of names that the proxy fetches from its upstream.
const upPrefix = "up"

// A proxyWorld is a proxy and the registries behind it, for one run.
type proxyWorld struct {
	proxy *registry
	// down gets what is pushed; nil where the proxy keeps it.
	down *registry
	dir  string
	ends []func() error
}

// proxyOptions say what a proxy is to be like.
type proxyOptions struct {
	down     bool
	upstream string // host
	far      bool   // upstream is behind a line
	filters  []string
	activate bool // by systemd-socket-activate: it is not there before the first client
}

// startProxy starts a proxy with an empty store, and an empty registry behind it
// where it has one. The caller ends the world, also where it did not come about.
func (b *bench) startProxy(ctx context.Context, dir string, o proxyOptions) (w *proxyWorld, err error) {
	w = &proxyWorld{dir: dir}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return w, err
	}
	w.ends = append(w.ends, func() error { return os.RemoveAll(dir) })
	program, err := b.occystrapd(ctx)
	if err != nil {
		return w, err
	}
	host, err := freeAddress(ctx)
	if err != nil {
		return w, err
	}
	if o.down {
		if w.down, err = startRegistry(ctx, b.env.values["REGISTRY_BIN"], filepath.Join(dir, "down")); err != nil {
			return w, err
		}
		w.ends = append(w.ends, w.down.stop)
	}
	if o.far {
		line, err := startLine(ctx, o.upstream)
		if err != nil {
			return w, err
		}
		w.ends = append(w.ends, line.stop)
		o.upstream = line.host
	}
	config := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(config, []byte(o.settings(host, dir, w.down)), 0o600); err != nil {
		return w, err
	}
	args := []string{program, "proxy", "--config", config}
	if o.activate {
		args = append([]string{b.env.values["SOCKET_ACTIVATE"], "--listen=" + host, "--fdname=registry"}, args...)
	}
	w.proxy, err = launch(ctx, host, args...)
	if err != nil {
		return w, err
	}
	w.ends = append(w.ends, w.proxy.stop)
	if o.activate {
		return w, w.proxy.listens(ctx)
	}
	return w, w.proxy.answers(ctx)
}

// settings is config.toml.
func (o proxyOptions) settings(host, dir string, down *registry) string {
	var s strings.Builder
	fmt.Fprintf(&s, "[proxy]\nlisten = [%q]\nidle = \"0s\"\n", host)
	if down != nil {
		fmt.Fprintf(&s, "downstream = %q\ninsecure = true\n", down.host)
	}
	if len(o.filters) > 0 {
		fmt.Fprintf(&s, "filters = [%s]\n", strings.Join(each(o.filters, strconv.Quote), ", "))
	}
	fmt.Fprintf(&s, "[proxy.store]\ndir = %q\n", filepath.Join(dir, "store"))
	if o.upstream != "" {
		fmt.Fprintf(&s, "[[proxy.upstream]]\nhost = %q\nprefix = %q\ninsecure = true\nprivate = true\n", o.upstream, upPrefix)
	}
	return s.String()
}

// end stops what runs and removes what was written.
func (w *proxyWorld) end() error {
	var errs []error
	for n := len(w.ends) - 1; n >= 0; n-- {
		errs = append(errs, w.ends[n]())
	}
	w.ends = nil
	return errors.Join(errs...)
}

// servers are the processes of the world.
func (w *proxyWorld) servers() []int {
	pids := []int{w.proxy.cmd.Process.Pid}
	if w.down != nil {
		pids = append(pids, w.down.cmd.Process.Pid)
	}
	return pids
}

// memory is a figure of the proxy's process in /proc, in bytes. It is the process
// itself also where systemd-socket-activate has become it.
func (w *proxyWorld) memory(key string) int64 {
	var kib int64
	if _, err := fmt.Sscanf(field(fmt.Sprintf("/proc/%d/status", w.proxy.cmd.Process.Pid), key, ":"), "%d kB", &kib); err != nil {
		return 0
	}
	return kib << 10
}

// occystrapd is the program of the daemons, built once.
func (b *bench) occystrapd(ctx context.Context) (string, error) {
	program := filepath.Join(b.dir, "bin", "occystrapd")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	return program, build(ctx, b.module, program, "./cmd/occystrapd", slices.Clone(b.goEnv)...)
}

// A counter stands before a registry and counts how often blobs are fetched.
type counter struct {
	host    string
	fetches atomic.Int64
	server  *http.Server
}

// count starts a counter. The caller closes its server.
func (r *registry) count(ctx context.Context) (*counter, error) {
	host, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	c := &counter{host: host}
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: r.host})
	c.server = &http.Server{Addr: host, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/blobs/") {
			c.fetches.Add(1)
		}
		forward.ServeHTTP(w, q)
	})}
	go func() { _ = c.server.ListenAndServe() }() // who cannot reach it says so
	return c, nil
}
