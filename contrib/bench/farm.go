package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The keys, beside those of the test environment, of the daemons that a farm has.
const (
	storeKey      = "BENCH_STORE"      // Docker, containerd image store, on containerdKey
	overlayKey    = "BENCH_OVERLAY2"   // Docker, overlay2 graph driver
	secondKey     = "BENCH_SECOND"     // Docker, containerd image store, on otherKey
	containerdKey = "BENCH_CONTAINERD" // address
	otherKey      = "BENCH_CONTAINERD2"
	sidecarKey    = "BENCH_SIDECAR" // control socket
)

// daemonLimit is how long a daemon may take until it answers, or ends.
const daemonLimit = 90 * time.Second

// A farm are daemons of this program's own: with roots that nobody else uses, and
// sockets that people who are not root can reach.
type farm struct {
	env  testEnv
	data string // their roots
	room string // sockets and programs; anybody may look into it
	all  []*daemon
}

// A daemon is a process of a farm.
type daemon struct {
	name string
	cmd  *exec.Cmd
	log  *tailWriter
	done chan struct{}
}

// startFarm starts all daemons. The caller stops the farm, whether that went well
// or not.
func startFarm(ctx context.Context, env testEnv, data, sidecar string) (*farm, error) {
	f := &farm{env: env, data: data}
	var err error
	// Not TMPDIR: sockets have short paths, and TMPDIR is this user's alone.
	if f.room, err = os.MkdirTemp("/tmp", "ob"); err != nil {
		return f, err
	}
	if err := os.Chmod(f.room, 0o755); err != nil { //nolint:gosec // the user who is measured must get there
		return f, err
	}
	for _, c := range []struct{ key, name string }{{containerdKey, "containerd"}, {otherKey, "containerd2"}} {
		if err := f.containerd(ctx, c.key, c.name); err != nil {
			return f, err
		}
	}
	const store = `"features": {"containerd-snapshotter": true}`
	const overlay = `"features": {"containerd-snapshotter": false}, "storage-driver": "overlay2",
  "containerd-namespace": "moby-overlay2", "containerd-plugins-namespace": "plugins.moby-overlay2"`
	for _, d := range []struct{ key, name, on, settings string }{
		{storeKey, "docker", "containerd", store},
		{secondKey, "docker2", "containerd2", store},
		{overlayKey, "overlay2", "containerd", overlay},
	} {
		if err := f.docker(ctx, d.key, d.name, d.on, d.settings); err != nil {
			return f, err
		}
	}
	return f, f.lend(ctx, sidecar)
}

func (f *farm) socket(name string) string { return filepath.Join(f.room, name+".sock") }

// tools is the folder with the daemons' programs.
func (f *farm) tools() string { return filepath.Dir(f.env.values["CTR"]) }

// containerd starts one as contrib/testenv does; see there what the settings are for.
func (f *farm) containerd(ctx context.Context, key, name string) error {
	root, state := filepath.Join(f.data, name), filepath.Join(f.room, name)
	config := fmt.Sprintf(`version = 3
root = %q
state = %q
imports = []
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.nri.v1.nri", "io.containerd.podsandbox.controller.v1.podsandbox"]
[grpc]
address = %q
gid = %d
[plugins."io.containerd.internal.v1.opt"]
path = %q
[plugins."io.containerd.shim.v1.manager"]
socket_dir = %q
`, root, state, f.socket(name), contentGroup, root+"-opt", filepath.Join(f.room, "s"))
	file := filepath.Join(f.data, name+".toml")
	if err := f.write(file, config); err != nil {
		return err
	}
	f.env.values[key] = f.socket(name)
	probe := []string{f.env.values["CTR"], "--address", f.socket(name), "version"}
	return f.start(ctx, name, probe, filepath.Join(f.tools(), "containerd"), "-c", file)
}

func (f *farm) docker(ctx context.Context, key, name, containerd, settings string) error {
	config := fmt.Sprintf(`{
  "hosts": ["unix://%s"], "group": "%d", "data-root": %q, "exec-root": %q, "pidfile": %q, "containerd": %q,
  "bridge": "none", "iptables": false, "ip6tables": false, "ip-forward": false, "ip-masq": false, "userland-proxy": false,
  "exec-opts": ["native.cgroupdriver=cgroupfs"], %s
}
`, f.socket(name), memberGroup, filepath.Join(f.data, name), filepath.Join(f.room, name), filepath.Join(f.room, name+".pid"), f.socket(containerd), settings)
	file := filepath.Join(f.data, name+".json")
	if err := f.write(file, config); err != nil {
		return err
	}
	f.env.values[key] = "unix://" + f.socket(name)
	probe := []string{f.env.values["DOCKER"], "--host", f.env.values[key], "version"}
	return f.start(ctx, name, probe, filepath.Join(f.tools(), "dockerd"), "--config-file", file)
}

// lend starts the sidecar, for those who may talk to Docker.
func (f *farm) lend(ctx context.Context, program string) error {
	config := fmt.Sprintf(`[lanes]
listen = %q
group = "%d"
idle = "0s"
[[lanes.containerd]]
root = %q
namespaces = ["moby"]
[[lanes.docker]]
root = %q
`, f.socket("control"), memberGroup, filepath.Join(f.data, "containerd"), filepath.Join(f.data, "overlay2"))
	file := filepath.Join(f.data, "lanes.toml")
	if err := f.write(file, config); err != nil {
		return err
	}
	f.env.values[sidecarKey] = f.socket("control")
	return f.start(ctx, "sidecar", []string{"test", "-S", f.socket("control")}, program, "lanes", "--config", file)
}

func (f *farm) write(file, text string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o600)
}

// start starts a daemon and waits until the probe says that it answers.
func (f *farm) start(ctx context.Context, name string, probe []string, args ...string) error {
	d := &daemon{name: name, log: &tailWriter{}, done: make(chan struct{})}
	// It ends after the farm's users, whatever became of ctx.
	d.cmd = exec.CommandContext(context.WithoutCancel(ctx), args[0], args[1:]...) //nolint:gosec // the test environment's
	d.cmd.Env = []string{"PATH=" + f.tools() + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + f.data}
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	ownGroup(d.cmd)
	if err := d.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	f.all = append(f.all, d)
	go func() {
		defer close(d.done)
		_ = d.cmd.Wait() // it is stopped by a signal; why it ended too early is in the log
	}()
	ctx, cancel := context.WithTimeout(ctx, daemonLimit)
	defer cancel()
	for {
		if _, err := output(ctx, probe...); err == nil {
			return nil
		}
		select {
		case <-d.done:
			return fmt.Errorf("%s ended at once\n%s", name, d.log)
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", name, ctx.Err())
		case <-time.After(idleLook):
		}
	}
}

// peak is the most memory that a daemon has had, in bytes, since forget.
func (f *farm) peak(name string) int64 {
	for _, d := range f.all {
		if d.name == name {
			kib := field(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid), "VmHWM", ":")
			var n int64
			if _, err := fmt.Sscanf(kib, "%d kB", &n); err == nil {
				return n << 10
			}
		}
	}
	return 0
}

// stop ends the daemons, the last first, and removes the room.
func (f *farm) stop() error {
	var errs []error
	for n := len(f.all) - 1; n >= 0; n-- {
		d := f.all[n]
		_ = d.cmd.Process.Signal(os.Interrupt) // it may have ended
		select {
		case <-d.done:
		case <-time.After(daemonLimit):
			_ = d.cmd.Process.Kill()
			errs = append(errs, fmt.Errorf("%s did not end and was killed", d.name))
			<-d.done
		}
	}
	if strings.HasPrefix(f.room, "/tmp/ob") {
		errs = append(errs, os.RemoveAll(f.room))
	}
	return errors.Join(errs...)
}
