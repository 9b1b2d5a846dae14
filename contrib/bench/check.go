package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A check looks at the result of a run, outside the timing.
type check func(ctx context.Context) error

// A checker knows the image that results are compared with.
type checker struct {
	image  image
	from   store
	prints []fingerprint    // of the image's layers, worked out when first needed
	known  map[string]error // verdicts on images looked at in depth
}

func newChecker(i image, from store) *checker {
	return &checker{image: i, from: from, known: map[string]error{}}
}

// A sameness says what of an archive must be that of the image.
type sameness int

const (
	sameBlobs    sameness = iota // config and layers, byte for byte
	sameManifest                 // and the manifest
)

// unchangedArchive wants the image's own bytes in a tar or folder.
func (c *checker) unchangedArchive(path string, want sameness) check {
	return func(ctx context.Context) error {
		a, err := readArchive(ctx, path)
		if err != nil {
			return err
		}
		wanted := c.image.blobs()
		if want == sameManifest {
			wanted = append(wanted, c.image.Desc)
		}
		for _, d := range wanted {
			if at, ok := a.files[d.Digest]; !ok || at.size != d.Size {
				return fmt.Errorf("%s lacks %s", path, d.Digest)
			}
		}
		return nil
	}
}

// unchangedRepository wants the image's own manifest, and all that it names.
func (c *checker) unchangedRepository(r repository) check {
	return func(ctx context.Context) error {
		d, err := r.root(ctx)
		if err != nil {
			return err
		}
		if d.Digest != c.image.Desc.Digest {
			return fmt.Errorf("%s is %s, not %s", r.ref(), d.Digest, c.image.Desc.Digest)
		}
		for _, b := range c.image.blobs() {
			if err := r.holds(ctx, b); err != nil {
				return err
			}
		}
		return nil
	}
}

// A change is what a job was to do to the layers.
type change struct {
	times time.Time // every entry's; zero: not looked at
	// content says that entries may be missing or new.
	content bool
	// without are folders of which nothing may be left.
	without []string
}

// changedArchive and changedRepository want an image in which everything fits
// together and which differs from the image in what was to change.
func (c *checker) changedArchive(path string, how change) check {
	return func(ctx context.Context) error {
		a, err := readArchive(ctx, path)
		if err != nil {
			return err
		}
		return c.changed(ctx, a, how)
	}
}

func (c *checker) changedRepository(r repository, how change) check {
	return func(ctx context.Context) error {
		i, err := readImage(ctx, r)
		if err != nil {
			return err
		}
		for _, b := range i.blobs() {
			if err := r.holds(ctx, b); err != nil {
				return err
			}
		}
		return c.changed(ctx, r, how)
	}
}

// changed looks at every byte of a result, but only once at the same result:
// its manifest's digest stands for all of it, and presence was checked.
func (c *checker) changed(ctx context.Context, s store, how change) error {
	i, err := readImage(ctx, s)
	if err != nil {
		return err
	}
	key := fmt.Sprint(i.Desc.Digest, how)
	verdict, seen := c.known[key]
	if !seen {
		if verdict = c.look(ctx, s, i, how); ctx.Err() != nil {
			return ctx.Err()
		}
		c.known[key] = verdict
	}
	return verdict
}

func (c *checker) look(ctx context.Context, s store, i image, how change) error {
	if c.prints == nil {
		prints, err := printLayers(ctx, c.from, c.image, change{})
		if err != nil {
			return fmt.Errorf("read the image that results are compared with: %w", err)
		}
		c.prints = prints
	}
	if len(i.Layers) != len(c.image.Layers) {
		return fmt.Errorf("%s has %d layers, not %d", i.Desc.Digest, len(i.Layers), len(c.image.Layers))
	}
	prints, err := printLayers(ctx, s, i, how)
	if err != nil {
		return err
	}
	for n, p := range prints {
		if !how.content && p.content != c.prints[n].content {
			return fmt.Errorf("layer %d of %s differs in more than its times", n, i.Desc.Digest)
		}
	}
	return nil
}

// printLayers reads every layer of an image and verifies its digest and its diff
// ID; every entry must be as the change says.
func printLayers(ctx context.Context, s store, i image, how change) ([]fingerprint, error) {
	raw, err := readBlob(ctx, s, i.Config)
	if err != nil {
		return nil, err
	}
	var config ocispec.Image
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, fmt.Errorf("read config %s: %w", i.Config.Digest, err)
	}
	if len(config.RootFS.DiffIDs) != len(i.Layers) {
		return nil, errors.New("the config and the manifest differ in the number of layers")
	}
	var prints []fingerprint
	for n, l := range i.Layers {
		p, err := printLayer(ctx, s, l, config.RootFS.DiffIDs[n], how)
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", l.Digest, err)
		}
		prints = append(prints, p)
	}
	return prints, nil
}

func printLayer(ctx context.Context, s store, l ocispec.Descriptor, diffID digest.Digest, how change) (fingerprint, error) {
	if ctx.Err() != nil { // a file does not know of ctx
		return fingerprint{}, ctx.Err()
	}
	r, err := s.open(ctx, l)
	if err != nil {
		return fingerprint{}, err
	}
	defer r.Close()
	blob := l.Digest.Verifier()
	p, err := printTar(io.TeeReader(r, blob), diffID, how)
	if err == nil && !blob.Verified() {
		err = errors.New("the content does not have this digest")
	}
	return p, err
}
