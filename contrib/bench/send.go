package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"golang.org/x/sync/errgroup"
)

// sendName is the first argument that makes this program a client that pushes an
// image of a layout: POST and PUT for each blob, then the manifest.
const sendName = "send"

// sendMain pushes: "send LAYOUT HOST NAME TAG COPIES ATONCE" pushes into COPIES
// repositories, of which the second and later ones have a number behind their
// names, that many blobs at once in each.
func sendMain(ctx context.Context, args []string) error {
	const count = 6
	if len(args) != count {
		return errors.New("send takes LAYOUT HOST NAME TAG COPIES ATONCE")
	}
	copies, err := strconv.Atoi(args[4])
	if err != nil {
		return err
	}
	atOnce, err := strconv.Atoi(args[5])
	if err != nil {
		return err
	}
	from := layout{dir: filepath.Clean(args[0])}
	i, err := readImage(ctx, from)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for n := range copies {
		g.Go(func() error {
			return repository{host: args[1], name: copyName(args[2], n), tag: args[3]}.pushAtOnce(ctx, from, i, atOnce)
		})
	}
	return g.Wait()
}

// copyName is the repository of a copy.
func copyName(name string, n int) string {
	if n == 0 {
		return name
	}
	return fmt.Sprintf("%s-%d", name, n)
}

// pushAtOnce pushes as clients do: blobs at once, then the manifest.
func (r repository) pushAtOnce(ctx context.Context, from store, i image, atOnce int) error {
	g, in := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, d := range i.blobs() {
		g.Go(func() error {
			if err := r.pushBlob(in, from, d); err != nil {
				return fmt.Errorf("push %s: %w", d.Digest, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return r.pushManifest(ctx, i)
}
