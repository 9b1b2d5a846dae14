package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/errgroup"
)

// inflateName is the first argument that makes this program the baseline of a
// filter that changes nothing: each layer is fetched, verified and inflated once
// and the result is thrown away. It is a process of its own, so that it is
// measured as the others are.
const inflateName = "inflate"

// inflateAtOnce is how many layers are in work at a time, as in occystrap.
const inflateAtOnce = 4

// inflateMain is the baseline: "inflate HOST NAME TAG" prints the plain size.
func inflateMain(ctx context.Context, args []string) error {
	const count = 3
	if len(args) != count {
		return errors.New("inflate takes HOST NAME TAG")
	}
	size, err := inflate(ctx, repository{host: args[0], name: args[1], tag: args[2]})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(os.Stdout, size)
	return err
}

// inflate reads all layers of an image and returns the size of the plain tars.
func inflate(ctx context.Context, s store) (int64, error) {
	i, err := readImage(ctx, s)
	if err != nil {
		return 0, err
	}
	sizes := make([]int64, len(i.Layers))
	if err := eachLayer(ctx, s, i, "inflate", func(n int, r io.Reader) (err error) {
		sizes[n], err = inflateBlob(r)
		return err
	}); err != nil {
		return 0, err
	}
	var sum int64
	for _, n := range sizes {
		sum += n
	}
	return sum, nil
}

// eachLayer reads all layers of an image, some at a time, and verifies them.
func eachLayer(ctx context.Context, s store, i image, what string, read func(n int, r io.Reader) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(inflateAtOnce)
	for n, l := range i.Layers {
		g.Go(func() error {
			r, err := s.open(ctx, l)
			if err != nil {
				return err
			}
			defer r.Close()
			verifier := l.Digest.Verifier()
			if err := read(n, io.TeeReader(r, verifier)); err != nil {
				return fmt.Errorf("%s %s: %w", what, l.Digest, err)
			}
			if !verifier.Verified() {
				return fmt.Errorf("%s %s: the content does not have this digest", what, l.Digest)
			}
			return nil
		})
	}
	return g.Wait()
}

func inflateBlob(r io.Reader) (int64, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return 0, err
	}
	defer z.Close()
	return io.Copy(io.Discard, z)
}

// inflateCommand starts this program as the baseline.
func inflateCommand(r repository) (command, error) {
	self, err := os.Executable()
	return command{args: append([]string{self, inflateName}, strings.Fields(r.host+" "+r.name+" "+r.tag)...)}, err
}
