package daemon

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/process"
)

// A loan is the names that a run gives images for a while, so that the daemon can
// be asked to push them to us.
//
//	127.0.0.1:PORT/occystrap/lane:PROCESS.RANDOM-N     N = 0 a stand-in, else an image
//
// To take away the last name of an image removes the image, in every daemon, and
// whether it is the last may change at any time. So no name is taken away from an
// image: it is given to the stand-in, an image of ours of one small file, which
// daemons answer by keeping the other under its ID; then it is taken from that. A
// name says whose it is, so that the next run finds those of one that was killed.
type loan struct {
	e          *engine
	repository string
	tag        string // of all names, without their number
	taken      int    // names of images so far
	events     pipeline.Events
}

// loanPath is constant, since daemons remember what they pushed by its path. It
// ends in no word of the Engine API: Podman would take it for one.
const loanPath = "/occystrap/lane"

// giveUpTime bounds tidying up in a daemon that does not answer.
const giveUpTime = 30 * time.Second

// borrow makes the stand-in, under a name at address.
func (e *engine) borrow(ctx context.Context, address string, events pipeline.Events) (*loan, error) {
	l := &loan{e: e, repository: address + loanPath, tag: process.Name() + "." + strings.ToLower(rand.Text()), events: events}
	standIn, err := newStandIn(l.tag)
	if err != nil {
		return nil, err
	}
	body, err := e.cli.ImageImport(ctx, client.ImageImportSource{Source: standIn, SourceName: "-"}, l.name(0), client.ImageImportOptions{})
	if err != nil {
		if ctx.Err() != nil {
			l.giveBack(ctx) // it may have been made before anybody could say so
		}
		return nil, explain(ctx, e.cli, "make a temporary image", err)
	}
	err = readAnswer(body)
	if err = errors.Join(err, body.Close()); err != nil {
		l.giveBack(ctx) // it may be there all the same
		return nil, explain(ctx, e.cli, "make a temporary image", err)
	}
	return l, nil
}

// newStandIn is a file system of one file, which no other image has.
func newStandIn(text string) (*bytes.Buffer, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	text = "A temporary image of occystrap, which may be removed: " + text + "\n"
	err := w.WriteHeader(&tar.Header{Name: "README", Mode: 0o444, Size: int64(len(text)), Format: tar.FormatUSTAR})
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	return &buf, errors.Join(err, w.Close())
}

// name is the n-th.
func (l *loan) name(n int) string { return l.repository + ":" + l.tag + "-" + strconv.Itoa(n) }

// take gives an image a name.
func (l *loan) take(ctx context.Context, image string) (string, error) {
	l.taken++ // first: who is interrupted has to give it back, too
	name := l.name(l.taken)
	if _, err := l.e.cli.ImageTag(ctx, client.ImageTagOptions{Source: image, Target: name}); err != nil {
		return "", explain(ctx, l.e.cli, "give image "+image+" a temporary name", err)
	}
	return name, nil
}

// giveBack takes all names away. Nothing that goes wrong here makes the run a
// failure, but the user is told what is left.
func (l *loan) giveBack(ctx context.Context) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), giveUpTime)
	defer stop()
	var names []string
	for n := 1; n <= l.taken; n++ {
		names = append(names, l.name(n))
	}
	for _, err := range []error{l.clear(ctx, names), l.remove(ctx, l.name(0))} {
		if err != nil {
			l.events.Warn(fmt.Sprintf("a temporary image name is left at %s, until the next run removes it: %v", l.e.cli.DaemonHost(), err))
		}
	}
}

// clear takes names away from images.
func (l *loan) clear(ctx context.Context, names []string) error {
	var errs []error
	for _, name := range names {
		errs = append(errs, again(ctx, func() error {
			_, err := l.e.cli.ImageTag(ctx, client.ImageTagOptions{Source: l.name(0), Target: name})
			return err
		}))
		if errs[len(errs)-1] == nil {
			errs = append(errs, l.remove(ctx, name))
		}
	}
	return errors.Join(errs...)
}

// remove takes a name away from the stand-in; the last one removes it.
func (l *loan) remove(ctx context.Context, name string) error {
	return again(ctx, func() error {
		_, err := l.e.cli.ImageRemove(ctx, name, client.ImageRemoveOptions{})
		if err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("remove %s: %w", name, err)
		}
		return nil
	})
}

const (
	// attempts is how often a change of the store is tried: Podman fails while others
	// change it, too.
	attempts = 4
	// attemptPause is the pause before the second one; it doubles.
	attemptPause = 100 * time.Millisecond
)

// again does something until it goes well, a few times at most.
func again(ctx context.Context, do func() error) error {
	for n := 0; ; n++ {
		err := do()
		if err == nil || n == attempts-1 {
			return err
		}
		t := time.NewTimer(attemptPause << n)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}

// tidy gives back what runs have left that were killed.
func (l *loan) tidy(ctx context.Context) {
	var opts client.ImageListOptions
	if !l.e.podman { // whose patterns are others
		opts.Filters = client.Filters{}.Add("reference", "127.0.0.1:*"+loanPath)
	}
	var list client.ImageListResult
	err := again(ctx, func() (err error) {
		list, err = l.e.cli.ImageList(ctx, opts)
		return err
	})
	if err != nil {
		l.events.Detail(fmt.Sprintf("what killed runs have left cannot be listed: %v", explain(ctx, l.e.cli, "list images", err)))
		return
	}
	var images, standIns []string
	for _, image := range list.Items {
		for _, name := range image.RepoTags {
			switch n, dead := leftBehind(name); {
			case !dead:
			case n == 0:
				standIns = append(standIns, name)
			default:
				images = append(images, name)
			}
		}
	}
	err = l.clear(ctx, images)
	for _, name := range standIns {
		err = errors.Join(err, l.remove(ctx, name))
	}
	if err != nil {
		l.events.Detail(fmt.Sprintf("what killed runs have left is still there: %v", err))
	}
}

// leftBehind reads a name of a loan whose process has ended for sure.
func leftBehind(name string) (n int, dead bool) {
	repository, tag, ok := cutTag(name)
	if !ok || !strings.HasPrefix(repository, "127.0.0.1:") || !strings.HasSuffix(repository, loanPath) {
		return 0, false
	}
	at, dash := strings.LastIndexByte(tag, '.'), strings.LastIndexByte(tag, '-')
	if at < 0 || dash < at {
		return 0, false
	}
	n, err := strconv.Atoi(tag[dash+1:])
	return n, err == nil && process.Ended(tag[:at])
}

// cutTag separates REPOSITORY:TAG.
func cutTag(name string) (repository, tag string, ok bool) {
	at := strings.LastIndexByte(name, ':')
	if at < strings.LastIndexByte(name, '/') {
		return "", "", false
	}
	return name[:at], name[at+1:], true
}
