package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// startLimit is how long a registry may take until it answers.
const startLimit = 20 * time.Second

// A registry is a distribution registry of ours on this machine.
type registry struct {
	host string // 127.0.0.1:PORT
	cmd  *exec.Cmd
	log  *tailWriter
	done chan struct{} // closed when it has ended
}

// startRegistry starts the program with an empty storage in dir. The caller
// stops it.
func startRegistry(ctx context.Context, program, dir string) (*registry, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	host, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "config.yml")
	settings := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"+
		"storage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\n", filepath.Join(dir, "data"), host)
	if err := os.WriteFile(config, []byte(settings), 0o600); err != nil {
		return nil, err
	}
	r, err := launch(ctx, host, program, "serve", config)
	if err != nil {
		return nil, err
	}
	if err := r.answers(ctx); err != nil {
		return nil, errors.Join(err, r.stop())
	}
	return r, nil
}

// launch starts a program that answers at host, once it is up. The caller stops it.
func launch(ctx context.Context, host string, args ...string) (*registry, error) {
	r := &registry{host: host, log: &tailWriter{}, done: make(chan struct{})}
	r.cmd = exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // the program that the user chose
	// Every variable that begins with REGISTRY_ would be a setting of it; traces
	// would go to a collector that nobody runs.
	r.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "OTEL_TRACES_EXPORTER=none"}
	r.cmd.Stdout, r.cmd.Stderr = r.log, r.log
	ownGroup(r.cmd)
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	go func() {
		defer close(r.done)
		_ = r.cmd.Wait() // it is stopped by a signal; why it ended too early is in the log
	}()
	return r, nil
}

// freeAddress is one that nobody listens on just now.
func freeAddress(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// answers waits until the registry does.
func (r *registry) answers(ctx context.Context) error {
	const pause = 50 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		resp, err := (repository{host: r.host}).do(ctx, http.MethodGet, "http://"+r.host+"/v2/", nil, http.StatusOK)
		if err == nil {
			return resp.Body.Close()
		}
		select {
		case <-r.done:
			return fmt.Errorf("the registry ended: %s", r.log)
		case <-ctx.Done():
			return fmt.Errorf("the registry does not answer: %w", err)
		case <-time.After(pause):
		}
	}
}

// stop ends the registry and waits for its end.
func (r *registry) stop() error {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		select {
		case <-r.done:
			return nil
		default:
		}
		if err := syscall.Kill(-r.cmd.Process.Pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
		select {
		case <-r.done:
		case <-time.After(stopGrace):
		}
	}
	<-r.done
	return nil
}

// at is a repository of the registry.
func (r *registry) at(name string) repository {
	return repository{host: r.host, name: name, tag: "1"}
}
