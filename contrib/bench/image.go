package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The names under which the Docker daemon holds the image while it is made.
const (
	baseName  = "occystrap-bench-base:latest"
	imageName = "occystrap-bench:latest"
)

// imageSteps are the two images, relative to this folder.
const imageSteps = "contrib/bench/image"

// An imageMaker makes the benchmark image.
type imageMaker struct {
	env    testEnv
	module string // the folder of go.mod
	cache  string // .cache
	say    func(format string, args ...any)
}

// layout returns the folder of the image's OCI layout, made once and kept.
func (m imageMaker) layout(ctx context.Context) (string, error) {
	dir := filepath.Join(m.cache, "image")
	if _, err := os.Stat(filepath.Join(dir, "index.json")); err == nil {
		return dir, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := m.possible(); err != nil {
		return "", err
	}
	work := filepath.Join(m.cache, "build")
	if err := os.MkdirAll(work, 0o750); err != nil {
		return "", err
	}
	m.say("making the benchmark image; this takes ten minutes or so, once")
	if err := m.build(ctx, work); err != nil {
		return "", fmt.Errorf("make the benchmark image: %w", err)
	}
	if err := m.save(ctx, work, dir); err != nil {
		return "", fmt.Errorf("save the benchmark image: %w", err)
	}
	return dir, os.RemoveAll(work)
}

// possible says what is missing to make the image.
func (m imageMaker) possible() error {
	const remedy = "; use -quick for a small image, or -image for an OCI layout of yours"
	switch {
	case os.Getuid() != 0:
		return errors.New("making the benchmark image takes root (debootstrap)" + remedy)
	case m.env.values["DOCKER29"] == "":
		return fmt.Errorf("making the benchmark image takes Docker 29 (%s)%s", m.env.why("DOCKER29"), remedy)
	case m.env.values["DOCKER"] == "":
		return fmt.Errorf("making the benchmark image takes the docker client (%s)%s", m.env.why("DOCKER"), remedy)
	}
	return nil
}

// build makes the root file system, then the image layer by layer.
func (m imageMaker) build(ctx context.Context, work string) error {
	rootfs := filepath.Join(work, "rootfs.tgz")
	if _, err := os.Stat(rootfs); errors.Is(err, fs.ErrNotExist) {
		m.say("  debootstrap")
		if err := (rootMaker{work: work}).make(ctx, rootfs); err != nil {
			return err
		}
	}
	m.say("  docker build")
	steps := filepath.Join(m.module, imageSteps)
	if err := m.docker(ctx, "build", "--tag", baseName, "--file", filepath.Join(steps, "Dockerfile.base"), work); err != nil {
		return err
	}
	return m.docker(ctx, "build", "--network", "host", "--tag", imageName, "--file", filepath.Join(steps, "Dockerfile"), steps)
}

// save copies the image out of the daemon. Its containerd store saves an OCI
// layout with the blobs as they are. What "docker save" leaves out without an
// error is found when the image is pushed.
func (m imageMaker) save(ctx context.Context, work, dir string) error {
	m.say("  docker save")
	archive, tree := filepath.Join(work, "image.tar"), filepath.Join(work, "image")
	if err := m.docker(ctx, "save", "--output", archive, imageName); err != nil {
		return err
	}
	if err := os.MkdirAll(tree, 0o750); err != nil {
		return err
	}
	if _, err := output(ctx, "tar", "-xf", archive, "-C", tree); err != nil {
		return err
	}
	if err := m.docker(ctx, "image", "rm", imageName, baseName); err != nil {
		return err
	}
	return os.Rename(tree, dir)
}

// docker calls the client for Docker 29, with the classic builder: BuildKit's
// needs a plugin of the client.
func (m imageMaker) docker(ctx context.Context, args ...string) error {
	_, err := command{
		args: append([]string{m.env.values["DOCKER"], "--host", m.env.values["DOCKER29"]}, args...),
		env:  []string{"DOCKER_BUILDKIT=0", "DOCKER_CONFIG=" + filepath.Join(m.cache, "docker-config")},
	}.run(ctx)
	if err != nil && strings.Contains(err.Error(), "Temporary failure resolving") {
		return fmt.Errorf("%w (the build has the machine's network, which does not reach Debian's packages)", err)
	}
	return err
}
