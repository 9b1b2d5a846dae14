package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// A session is one call of the program: what it set up, to be taken down.
type session struct {
	options
	module string // the folder of go.mod
	cache  string // contrib/bench/.cache
	dir    string // of this call, in .cache
	env    testEnv
	bench  *bench
	ends   []func() error
}

// say tells how far it is.
func (s *session) say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// open prepares everything that the jobs use. close takes it down, whether open
// went well or not.
func (s *session) open(ctx context.Context) error {
	mod, err := output(ctx, "go", "env", "GOMOD")
	if err != nil {
		return err
	}
	s.module = filepath.Dir(mod)
	s.cache = filepath.Join(s.module, "contrib", "bench", ".cache")
	s.dir = filepath.Join(s.cache, "run")
	if err := s.lock(); err != nil {
		return err
	}
	if s.env, err = readTestEnv(s.module); err != nil {
		return err
	}
	// What a call that was killed left behind.
	if err := os.RemoveAll(s.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o750); err != nil {
		return err
	}
	s.ends = append(s.ends, func() error { return os.RemoveAll(s.dir) })
	s.bench = &bench{env: s.env, module: s.module, dir: s.dir, quick: s.quick}
	// Go's caches, wherever this user has them: contenders get another home.
	for _, key := range []string{"GOCACHE", "GOMODCACHE", "GOENV"} {
		value, err := output(ctx, "go", "env", key)
		if err != nil {
			return err
		}
		s.bench.goEnv = append(s.bench.goEnv, key+"="+value)
	}
	if err := s.programs(ctx); err != nil {
		return err
	}
	if err := privateHome(filepath.Join(s.dir, "home")); err != nil {
		return err
	}
	return s.places(ctx)
}

// lock keeps a second call out: both would measure the other one.
func (s *session) lock() error {
	if err := os.MkdirAll(s.cache, 0o750); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(s.cache, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	s.ends = append(s.ends, f.Close)
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("another benchmark is running: %w", err)
	}
	return nil
}

// programs builds occystrap, and the registry where the test environment has none.
func (s *session) programs(ctx context.Context) error {
	var err error
	if s.program != "" {
		if s.bench.program, err = filepath.Abs(s.program); err != nil {
			return err
		}
	} else {
		s.say("building occystrap")
		// The name makes it stand-alone: it is a plugin of docker otherwise.
		s.bench.program = filepath.Join(s.dir, "bin", ours)
		if err := build(ctx, s.module, s.bench.program, "./cmd/docker-occystrap"); err != nil {
			return err
		}
	}
	if s.env.values["REGISTRY_BIN"] != "" {
		return nil
	}
	s.say("building a registry")
	const registryPackage = "github.com/distribution/distribution/v3/cmd/registry"
	s.env.values["REGISTRY_BIN"] = filepath.Join(s.cache, "registry")
	return build(ctx, filepath.Join(s.module, "contrib", "testenv"), s.env.values["REGISTRY_BIN"], registryPackage)
}

// build makes a program without cgo.
func build(ctx context.Context, dir, out, name string, env ...string) error {
	_, err := command{
		args: []string{"go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, name},
		dir:  dir, env: append(env, "CGO_ENABLED=0"),
	}.run(ctx)
	return err
}

// places makes the image and puts it where the jobs look for it.
func (s *session) places(ctx context.Context) error {
	from, err := s.layout(ctx)
	if err != nil {
		return err
	}
	img, err := readImage(ctx, from)
	if err != nil {
		return err
	}
	b := s.bench
	b.checker, b.layout = newChecker(img, from), from.dir
	for _, l := range img.Layers {
		b.blobs = append(b.blobs, from.path(l.Digest))
	}
	if err := s.room(img.size()); err != nil {
		return err
	}
	for name, at := range map[string]**registry{"registry": &b.registry, "other": &b.other} {
		r, err := startRegistry(ctx, s.env.values["REGISTRY_BIN"], filepath.Join(s.dir, name))
		if err != nil {
			return err
		}
		*at = r
		s.ends = append(s.ends, r.stop)
	}
	if s.daemons {
		s.ends = append(s.ends, func() error { return b.leaveDaemons(context.WithoutCancel(ctx)) })
	}
	s.say("pushing the image")
	for _, name := range []string{"bench", "held"} {
		if err := b.registry.at(name).push(ctx, from, img); err != nil {
			return err
		}
	}
	b.archive = filepath.Join(s.dir, "image.tar")
	_, err = output(ctx, "tar", "-cf", b.archive, "-C", from.dir, ".")
	return err
}

// farm starts the daemons of the lanes, once.
func (s *session) farm(ctx context.Context) error {
	b := s.bench
	if b.farm != nil {
		return nil
	}
	for _, key := range []string{"DOCKER", "CTR", "DOCKER29"} {
		if s.env.values[key] == "" {
			return fmt.Errorf("lanes take the daemons of contrib/testenv: %s", s.env.why(key))
		}
	}
	s.say("starting daemons")
	sidecar, err := b.occystrapd(ctx)
	if err != nil {
		return err
	}
	if b.most, err = writeMost(ctx, layout{dir: b.layout}, b.checker.image, s.dir); err != nil {
		return err
	}
	b.farm, err = startFarm(ctx, s.env, filepath.Join(s.dir, "daemons"), sidecar)
	s.ends = append(s.ends, b.farm.stop)
	if err != nil {
		return err
	}
	return b.settleIn()
}

// layout is the image that is moved.
func (s *session) layout(ctx context.Context) (layout, error) {
	if s.quick {
		return writeSmall(filepath.Join(s.dir, "image"))
	}
	if s.image != "" {
		dir, err := filepath.Abs(s.image)
		return layout{dir: dir}, err
	}
	dir, err := imageMaker{env: s.env, module: s.module, cache: s.cache, say: s.say}.layout(ctx)
	return layout{dir: dir}, err
}

// room wants space for what is there at once.
func (s *session) room(size int64) error {
	const places = 15 // two registries with rewritten images, archives, plain layers, temporary files of the tools
	need := size * places
	var fs syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &fs); err != nil {
		return err
	}
	if free := int64(fs.Bavail) * fs.Bsize; free < need {
		const giga = 1e9
		return fmt.Errorf("%s has %.0f GB free; the benchmark takes %.0f GB", s.dir, float64(free)/giga, float64(need)/giga)
	}
	return nil
}

// close takes down what open set up, the last first.
func (s *session) close() error {
	var errs []error
	for n := len(s.ends) - 1; n >= 0; n-- {
		errs = append(errs, s.ends[n]())
	}
	return errors.Join(errs...)
}

// plainSize asks the baseline for the size of the plain layers.
func (s *session) plainSize(ctx context.Context) (int64, error) {
	c, err := inflateCommand(s.bench.source())
	if err != nil {
		return 0, err
	}
	out, err := output(ctx, c.args...)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(out), 10, 64)
}

// goVersion is that of the toolchain, which built everything.
func goVersion(ctx context.Context) string {
	if _, err := exec.LookPath("go"); err != nil {
		return ""
	}
	out, _ := output(ctx, "go", "env", "GOVERSION")
	return out
}
