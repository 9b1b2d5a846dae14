package daemon

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/moby/moby/client"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline"
)

const (
	// chainImages is how many images are looked into at most: a daemon answers in
	// about a millisecond for each, and what it has beyond is sent for nothing.
	chainImages = 1000
	// chainParallel is how many are asked for at once.
	chainParallel = 8
)

// chains are the chain IDs of all layers that the images of a graph driver have.
// The API has no list of layers, so it is asked for each image; those that may
// be earlier versions of want come first.
func (e *engine) chains(ctx context.Context, want []Reference) (map[digest.Digest]bool, error) {
	listed, err := e.cli.ImageList(ctx, client.ImageListOptions{})
	if err != nil {
		return nil, explain(ctx, e.cli, "list the images", err)
	}
	type candidate struct {
		id    string
		older bool
	}
	var all []candidate
	for _, i := range listed.Items {
		all = append(all, candidate{i.ID, slices.ContainsFunc(i.RepoTags, func(tag string) bool { return sameRepository(want, tag) })})
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		switch {
		case a.older == b.older:
			return 0
		case a.older:
			return -1
		}
		return 1
	})
	var mu sync.Mutex
	chains := map[digest.Digest]bool{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(chainParallel)
	for _, c := range all[:min(len(all), chainImages)] {
		group.Go(func() error {
			found, err := e.cli.ImageInspect(ctx, c.id)
			if err != nil {
				return ctx.Err() // it has gone, or says nothing: its layers are sent
			}
			var diffIDs []digest.Digest
			for _, l := range found.RootFS.Layers {
				diffIDs = append(diffIDs, digest.Digest(l))
			}
			mu.Lock()
			defer mu.Unlock()
			for _, chain := range pipeline.ChainIDs(diffIDs) {
				chains[chain] = true
			}
			return nil
		})
	}
	return chains, group.Wait()
}

// sameRepository says whether a name in the daemon is one of what is wanted, but
// for the tag.
func sameRepository(want []Reference, tag string) bool {
	repository := func(full string) string { return full[:max(strings.LastIndex(full, ":"), 0)] }
	full := fullName(tag)
	return full != "" && slices.ContainsFunc(want, func(r Reference) bool { return repository(r.Name) == repository(full) })
}
