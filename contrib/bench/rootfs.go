package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// debianSuite is the Debian of the benchmark image.
const debianSuite = "bookworm"

// A rootMaker makes a Debian root file system. It installs nothing: debootstrap
// is a package that is fetched and unpacked, with package lists of our own. How
// this machine reaches Debian's packages is asked of its apt, here and in the
// root file system that comes out.
type rootMaker struct{ work string }

// make writes the root file system to a compressed tar.
func (r rootMaker) make(ctx context.Context, archive string) error {
	tree := filepath.Join(r.work, "rootfs")
	// What an attempt that was cut short left behind.
	if err := os.RemoveAll(tree); err != nil {
		return err
	}
	if err := r.fetch(ctx); err != nil {
		return fmt.Errorf("fetch debootstrap: %w", err)
	}
	settings, err := output(ctx, "apt-config", "dump")
	if err != nil {
		return err
	}
	unpacked := filepath.Join(r.work, "debootstrap")
	_, err = command{
		args: append([]string{filepath.Join(unpacked, "usr/sbin/debootstrap"), "--variant=minbase", debianSuite, tree}, r.mirror(ctx)...),
		env:  append(proxies(settings), "DEBOOTSTRAP_DIR="+filepath.Join(unpacked, "usr/share/debootstrap")),
	}.run(ctx)
	if err != nil {
		return err
	}
	if err := settle(tree, settings); err != nil {
		return err
	}
	if _, err := output(ctx, "tar", "-czf", archive+".new", "--numeric-owner", "-C", tree, "."); err != nil {
		return err
	}
	return os.Rename(archive+".new", archive)
}

// fetch unpacks the package debootstrap.
func (r rootMaker) fetch(ctx context.Context) error {
	debs, lists := filepath.Join(r.work, "debs"), filepath.Join(r.work, "lists")
	for _, dir := range []string{debs, filepath.Join(lists, "partial")} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return err
		}
	}
	for _, action := range [][]string{{"update"}, {"download", "debootstrap"}} {
		// _apt cannot write here.
		args := append([]string{"apt-get", "-q", "-o", "Dir::State::Lists=" + lists, "-o", "APT::Sandbox::User=root"}, action...)
		if _, err := (command{args: args, dir: debs}).run(ctx); err != nil {
			return err
		}
	}
	found, err := filepath.Glob(filepath.Join(debs, "debootstrap_*.deb"))
	if err != nil || len(found) == 0 {
		return fmt.Errorf("apt-get download left no package: %w", os.ErrNotExist)
	}
	_, err = output(ctx, "dpkg", "-x", found[len(found)-1], filepath.Join(r.work, "debootstrap"))
	return err
}

// mirror is where apt on this machine gets the suite from; nothing leaves the
// choice to debootstrap.
func (r rootMaker) mirror(ctx context.Context) []string {
	out, err := output(ctx, "apt-get", "-o", "Dir::State::Lists="+filepath.Join(r.work, "lists"),
		"indextargets", "--format", "$(RELEASE) $(COMPONENT) $(SITE)", "Created-By: Packages")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(out) {
		if site, ok := strings.CutPrefix(strings.TrimSpace(line), debianSuite+" main "); ok {
			return []string{site}
		}
	}
	return nil
}

// proxies are apt's proxies as variables that debootstrap's wget reads.
func proxies(settings string) []string {
	var env []string
	for line := range strings.Lines(settings) {
		for _, scheme := range []string{"http", "https"} {
			value, ok := strings.CutPrefix(line, "Acquire::"+scheme+`::Proxy "`)
			if value, _, _ = strings.Cut(value, `"`); ok && value != "" && value != "DIRECT" {
				env = append(env, scheme+"_proxy="+value)
			}
		}
	}
	return env
}

// settle gives the new root apt's settings for its network, and takes away
// what debootstrap copied from this machine.
func settle(tree, settings string) error {
	var kept strings.Builder
	for line := range strings.Lines(settings) {
		for _, about := range []string{"Acquire::Check-", "Acquire::http", "Acquire::Retries", "Acquire::ForceIPv"} {
			if strings.HasPrefix(line, about) {
				kept.WriteString(line)
			}
		}
	}
	conf := filepath.Join(tree, "etc/apt/apt.conf.d/90network")
	if err := os.WriteFile(conf, []byte(kept.String()), 0o644); err != nil { //nolint:gosec // apt reads it as a user of its own
		return err
	}
	for _, name := range []string{"etc/resolv.conf", "etc/hostname"} {
		if err := os.Truncate(filepath.Join(tree, name), 0); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}
