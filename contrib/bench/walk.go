package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
)

// walkName is the first argument that makes this program the peer of a search:
// each layer is fetched, verified, inflated by klauspost/compress and walked
// through with archive/tar, as many at once as in occystrap.
const walkName = "walk"

// walkMain is that peer: "walk HOST NAME TAG PATTERN" prints LAYER:PATH for every
// name whose last part matches.
func walkMain(ctx context.Context, args []string) error {
	const count = 4
	if len(args) != count {
		return errors.New("walk takes HOST NAME TAG PATTERN")
	}
	found, err := walk(ctx, repository{host: args[0], name: args[1], tag: args[2]}, args[3])
	if err != nil {
		return err
	}
	for _, f := range found {
		if _, err := fmt.Fprintln(os.Stdout, f); err != nil {
			return err
		}
	}
	return nil
}

// walk looks for names in all layers of an image.
func walk(ctx context.Context, s store, pattern string) ([]string, error) {
	i, err := readImage(ctx, s)
	if err != nil {
		return nil, err
	}
	found := make([][]string, len(i.Layers))
	if err := eachLayer(ctx, s, i, "walk through", func(n int, r io.Reader) (err error) {
		found[n], err = walkLayer(r, i.Layers[n].Digest, pattern)
		return err
	}); err != nil {
		return nil, err
	}
	return slices.Concat(found...), nil
}

func walkLayer(r io.Reader, layer digest.Digest, pattern string) (found []string, err error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	for tr := tar.NewReader(z); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			_, err := io.Copy(io.Discard, z)
			return found, err
		}
		if err != nil {
			return nil, err
		}
		name := path.Clean(h.Name)
		hit, err := path.Match(pattern, path.Base(name))
		if err != nil {
			return nil, err
		}
		if hit {
			found = append(found, layer.Encoded()+":"+name)
		}
	}
}
