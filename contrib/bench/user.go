package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Who measures what people can do who are not root. Nobody on the machine has
// these numbers, one hopes.
const (
	plainUser    = 47110
	memberGroup  = 47111 // may talk to Docker, and to the sidecar
	contentGroup = 47112 // and to containerd
)

// as makes a command that of a user who belongs to these groups. What he writes is
// in a folder of his own.
func (b *bench) as(c command, groups ...uint32) command {
	home := b.home()
	c.args = append([]string{filepath.Join(b.farm.room, ours)}, c.args[1:]...)
	c.credential = &syscall.Credential{Uid: plainUser, Gid: plainUser, Groups: groups}
	c.env = append(c.env, "HOME="+home, "TMPDIR="+home, "DOCKER_CONFIG="+filepath.Join(home, "docker"))
	c.dir = home
	return c
}

func (b *bench) home() string { return filepath.Join(b.farm.room, "home") }

// settleIn makes the user's folder, and puts there what he needs. It has to be on
// the disk that the others write to, or figures could not be compared.
func (b *bench) settleIn() error {
	if err := os.MkdirAll(b.home(), 0o750); err != nil {
		return err
	}
	if err := os.Chown(b.home(), plainUser, plainUser); err != nil {
		return err
	}
	for from, to := range map[string]string{b.program: ours, b.archive: "image.tar", b.most: "most.tar"} {
		to = filepath.Join(b.farm.room, to)
		if err := os.Link(from, to); err != nil {
			return fmt.Errorf("/tmp is another disk than that of the results, and users who are not root write there: %w", err)
		}
		if err := os.Chmod(to, 0o755); err != nil { //nolint:gosec // the user reads it
			return err
		}
	}
	return nil
}
