package pipeline

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline/internal/codec"
)

// Verify reads all that src holds and checks every digest and diff ID; and that
// each root of want is among its roots, by its manifest digest or, where a
// daemon makes manifests of its own, by the digest of its config.
func Verify(ctx context.Context, src Source, want Report, opts Options) error {
	opts.looks = true
	graph, err := src.Open(ctx, opts.Query)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	defer graph.Close()
	if opts.Parallel <= 0 {
		opts.Parallel = defaultParallel
	}
	limits := opts.Limits.WithDefaults()
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(opts.Parallel)
	for l, err := range graph.Layers(ctx) {
		if err != nil {
			return fmt.Errorf("verify: %w", err)
		}
		if l.Foreign == "" && !l.Absent { // an absent layer is where the archive is for
			group.Go(func() error { return verifyLayer(gctx, l, limits) })
		}
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return verifyRoots(ctx, graph, want)
}

func verifyLayer(ctx context.Context, l Layer, limits Limits) error {
	raw, err := l.Open(ctx)
	if err != nil {
		return fmt.Errorf("layer %s: %w", l.Blob.Digest, err)
	}
	defer raw.Close()
	if l.DiffID == "" || l.DiffID.Algorithm() != digest.SHA256 {
		if err := copyAll(io.Discard, raw); err != nil {
			return fmt.Errorf("layer %s: %w", l.Blob.Digest, err)
		}
		return nil
	}
	plain, _, err := codec.NewReader(raw)
	if err != nil {
		return fmt.Errorf("layer %s: %w", l.Blob.Digest, err)
	}
	defer plain.Close()
	sum := sha256.New()
	if err := copyAll(sum, &limitReader{r: plain, left: limits.Layer, limit: limits.Layer}); err != nil {
		return fmt.Errorf("layer %s: %w", l.Blob.Digest, err)
	}
	if got := digest.NewDigest(digest.SHA256, sum); got != l.DiffID {
		return DigestError("diff ID of layer "+l.Blob.Digest.String(), l.DiffID, got)
	}
	// What follows the compressed stream belongs to the blob's digest.
	return copyAll(io.Discard, raw)
}

// verifyRoots looks for the roots of a run among the manifests of a graph.
func verifyRoots(ctx context.Context, graph Graph, want Report) error {
	have := map[digest.Digest]bool{}
	for m, err := range graph.Manifests(ctx) {
		if err != nil {
			return fmt.Errorf("verify: %w", err)
		}
		have[m.Desc.Digest] = true
		if m.Config != nil {
			have[digest.FromBytes(m.Config)] = true
		}
	}
	for _, root := range want.Roots {
		if !have[root.Manifest.Digest] && !have[root.Config] {
			return fmt.Errorf("verify: %w: the destination does not hold %s", ErrNotFound, root.Manifest.Digest)
		}
	}
	return nil
}
