package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// searchPattern is what is looked for: it means the same in occystrap, where it
// is for whole paths too, and in the peer.
const searchPattern = "*.pem"

// The Python original's search of this image, and what is wanted of ours.
const (
	pythonSearch = 10300 * time.Millisecond
	searchFactor = 4
)

// beforeLayer is what occystrap prints before LAYER:PATH.
var beforeLayer = regexp.MustCompile(`(?m)^.*?([0-9a-f]{64}:)`)

// searchJob looks for files in all layers.
func (b *bench) searchJob() job {
	from := b.source()
	var out strings.Builder
	found := b.finds(&out)
	return job{
		name: "search in all layers of a registry's image",
		note: "The peer fetches, verifies and inflates (klauspost/compress) four layers at once, and walks through them with archive/tar. Both print the same files. " +
			"The Python original took " + pythonSearch.String() + " for this image on a machine like that of the first RESULTS.md.",
		contenders: []contender{
			{name: ours, start: func(context.Context, trial) (attempt, error) {
				out.Reset()
				return attempt{
					command: command{args: []string{b.program, "--insecure", "search", "registry://" + from.ref(), searchPattern, "-O", "script"}, out: &out},
					check:   found,
				}, nil
			}},
			{name: "inflate and archive/tar", start: func(context.Context, trial) (attempt, error) {
				self, err := os.Executable()
				out.Reset()
				return attempt{
					command: command{args: []string{self, walkName, from.host, from.name, from.tag, searchPattern}, out: &out},
					check:   found,
				}, err
			}},
		},
		wants: []want{timesFasterThan("the Python original", pythonSearch, searchFactor), littleMemory()},
	}
}

// pythonWalk does with files of layers what the Python original does: it checks
// the digest, and looks at every name in the tar.
const pythonWalk = `
import fnmatch, hashlib, os, sys, tarfile
for path in sys.argv[2:]:
    digest = hashlib.sha256()
    with open(path, "rb") as layer:
        while block := layer.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != os.path.basename(path):
        sys.exit(path + " has another digest")
    with tarfile.open(path, "r:gz") as tar:
        for member in tar:
            if fnmatch.fnmatchcase(member.name, sys.argv[1]):
                print(os.path.basename(path) + ":" + member.name)
`

// archiveSearchJob looks for the same files in an archive. The original cannot be
// had here, but the library that it stands on can.
func (b *bench) archiveSearchJob() job {
	const python = "Python's tarfile"
	var out strings.Builder
	found := b.finds(&out)
	start := func(args ...string) func(context.Context, trial) (attempt, error) {
		return func(context.Context, trial) (attempt, error) {
			out.Reset()
			return attempt{command: command{args: args, out: &out}, check: found}, nil
		}
	}
	return job{
		name: "search in all layers of an archive",
		note: "Python reads the layers from files, one after another, and checks their digests, as the Python original does once it has fetched them.",
		contenders: []contender{
			{name: ours, start: start(b.program, "search", "tar://"+b.archive, searchPattern, "-O", "script")},
			{name: python, start: start(append([]string{"python3", "-c", pythonWalk, searchPattern}, b.blobs...)...)},
		},
		wants: []want{timesFaster(python, searchFactor), littleMemory()},
	}
}

// finds wants the files in what a search printed.
func (b *bench) finds(out *strings.Builder) check {
	return func(ctx context.Context) error {
		want, err := b.wantedFiles(ctx)
		if err != nil {
			return err
		}
		return sameFiles(beforeLayer.ReplaceAllString(out.String(), "$1"), want)
	}
}

// wantedFiles is what a search has to find, read from the image's own folder.
func (b *bench) wantedFiles(ctx context.Context) ([]string, error) {
	if b.wanted == nil {
		all, err := walk(ctx, b.checker.from, searchPattern)
		if err != nil {
			return nil, err
		}
		b.wanted = append([]string{}, all...)
	}
	return b.wanted, nil
}

// sameFiles compares lines, whatever their order.
func sameFiles(got string, want []string) error {
	lines := slices.Sorted(strings.Lines(got))
	for n, l := range lines {
		lines[n] = strings.TrimSuffix(l, "\n")
	}
	if want = slices.Sorted(slices.Values(want)); !slices.Equal(lines, want) {
		return fmt.Errorf("found %d files, not %d", len(lines), len(want))
	}
	return nil
}
