package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// What is wanted of the commands that unpack an image or tell about it.
const (
	unpackFactor = 1.5                   // of tar -x
	infoLimit    = 50 * time.Millisecond // and the round trips to a registry on loopback
)

// unpackRounds are few, since no output of the job is deleted before its end:
// after a large tree was deleted ext4 creates files slowly for minutes.
const unpackRounds = 2

// untar unpacks layers as they are, one upon the other, as root does by hand:
// with owners, modes and attributes, whiteouts as files.
const untar = `mkdir -p "$0" && for layer; do
	tar -xpzf "$layer" -C "$0" --numeric-owner --xattrs --xattrs-include='*' || exit
done`

// expandJob unpacks the image.
func (b *bench) expandJob() job {
	const tar, umoci = "tar -x of each layer", "umoci raw unpack"
	return job{
		name: "unpack an image", most: unpackRounds, keeps: true,
		note: "From an OCI layout on disk. occystrap writes the plain layers too, as the original did. tar applies no whiteouts. " +
			"occystrap and umoci must give the same tree: types, owners, modes, times, contents, links.",
		contenders: []contender{
			b.occystrap("dir://"+b.layout, func(t trial) (string, check) {
				return "dir://" + t.out + "?expand=true", b.sameTree(filepath.Join(t.out, "manifest"))
			}),
			{name: tar, start: func(_ context.Context, t trial) (attempt, error) {
				return attempt{command: command{args: append([]string{"sh", "-c", untar, t.out}, b.blobs...)}, check: manyFiles(t.out)}, nil
			}},
			{name: umoci, tool: "UMOCI", start: func(_ context.Context, t trial) (attempt, error) {
				from, err := b.ociLayout()
				return attempt{command: b.tool("UMOCI", "raw", "unpack", "--image", from+":latest", t.out), check: b.sameTree(t.out)}, err
			}},
		},
		wants: []want{noSlower(tar, unpackFactor), aheadOf(umoci), littleMemory()},
	}
}

// sameTree wants the tree that the first contender made.
func (b *bench) sameTree(dir string) check {
	return func(context.Context) error {
		got, err := treeOf(dir)
		switch {
		case err != nil:
			return err
		case b.tree == treeSum{}:
			b.tree = got
		case b.tree != got:
			return fmt.Errorf("%s has %s, the first tree %s", dir, got, b.tree)
		}
		return nil
	}
}

// manyFiles wants a tree of about as many files as the image has.
func manyFiles(dir string) check {
	return func(context.Context) error {
		const least = 10
		got, err := treeOf(dir)
		if err == nil && got.paths < least {
			return fmt.Errorf("%s has %s", dir, got)
		}
		return err
	}
}

// infoJob tells about an image in a registry.
func (b *bench) infoJob() job {
	ref := b.source().ref()
	return job{
		name: "info of a registry's image", short: true,
		note: "skopeo starts through a shell script of contrib/testenv.",
		contenders: []contender{
			b.tells("info", "registry://"+ref),
			b.peer("crane manifest", "CRANE", func(trial) ([]string, check) { return []string{"manifest", ref}, nil }),
			b.peer("regctl image inspect", "REGCTL", func(trial) ([]string, check) { return []string{"image", "inspect", ref}, nil }),
			b.peer("skopeo inspect", "SKOPEO", func(trial) ([]string, check) {
				return []string{"inspect", "--tls-verify=false", "docker://" + ref}, nil
			}),
		},
		wants: []want{below(infoLimit), littleMemory()},
	}
}

// checkJob reads all layers and judges them.
func (b *bench) checkJob() job {
	const crane = "crane validate"
	ref := b.source().ref()
	return job{
		name: "check an image", most: memoryRounds,
		note: "crane compares digests, diff IDs and sizes; check looks at every entry too.",
		contenders: []contender{
			b.tells("check", "registry://"+ref),
			b.peer(crane, "CRANE", func(trial) ([]string, check) { return []string{"validate", "--remote", ref}, nil }),
		},
		wants: []want{aheadOf(crane), littleMemory()},
	}
}

// tells is occystrap with a command that only prints.
func (b *bench) tells(args ...string) contender {
	return contender{name: ours, start: func(context.Context, trial) (attempt, error) {
		return attempt{command: command{args: append([]string{b.program, "--insecure"}, args...), null: true}}, nil
	}}
}
