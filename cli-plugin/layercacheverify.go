package cliplugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/layercache"
)

func (p *program) cacheVerifyCommand() *cobra.Command {
	var prune bool
	cmd := &cobra.Command{
		Use:   "verify [OPTIONS] [REPOSITORY…]",
		Short: "Check the layer cache, and what repositories still hold of it",
		Long: `Check that the layer cache can be read, and ask each REPOSITORY (HOST/NAME) which of
the layers it still holds. A layer that none of them holds is made again when it
is needed; with --prune its entries are forgotten now.

The program ends with code 1 when the file is damaged.`,
		Example: `  occystrap cache verify
  occystrap cache verify registry.example/team/app registry.example/team/base --prune`,
		RunE: p.onCache(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			if prune && len(args) == 0 {
				return usage(cmd, "--prune needs a REPOSITORY to ask")
			}
			return p.verifyCache(ctx, cmd, args, prune)
		}),
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().BoolVar(&prune, "prune", false, "Forget layers that no REPOSITORY holds")
	return cmd
}

func (p *program) verifyCache(ctx context.Context, cmd *cobra.Command, repositories []string, prune bool) error {
	cache, damage, err := layercache.Inspect(p.options.layerCache, p.options.cacheConfig(nil, nil))
	if err != nil {
		return err
	}
	out := p.docker.Out()
	for _, d := range damage {
		fmt.Fprintf(out, "damaged: %s\n", pipeline.OneLine(d.Error()))
	}
	entries := cache.Entries()
	fmt.Fprintf(out, "%d entries can be read.\n", len(entries))
	if len(damage) > 0 {
		return errors.New("the layer cache is damaged; the next run keeps it under another name and makes a new one with what can be read")
	}
	if len(repositories) == 0 {
		return nil
	}
	held, err := p.askRepositories(ctx, cmd, repositories, entries)
	if err != nil {
		return err
	}
	gone := map[digest.Digest]bool{}
	for _, e := range entries {
		if h, asked := held[e.Digest]; asked && !h && !gone[e.Digest] {
			gone[e.Digest] = true
			fmt.Fprintf(out, "gone: %s, which %s became by %s\n", e.Digest, shortDigest(e.Layer), pipeline.OneLine(cacheRecipe(e)))
		}
	}
	fmt.Fprintf(out, "Of %d layers %d are held and %d are gone.\n", len(held), len(held)-len(gone), len(gone))
	if !prune {
		return nil
	}
	return p.pruneCache(ctx, 0, func(e layercache.Entry) bool { return gone[e.Digest] })
}

// askRepositories says of each layer that a registry can hold whether one of the
// repositories does.
func (p *program) askRepositories(ctx context.Context, cmd *cobra.Command, repositories []string, entries []layercache.Entry) (map[digest.Digest]bool, error) {
	held := map[digest.Digest]bool{}
	wanted := map[digest.Digest]pipeline.Layer{}
	for _, e := range entries {
		// What stored bytes hold stays true; plain layers went elsewhere.
		if c := pipeline.LayerCompression(e.MediaType); (e.Recipe != "" || e.FiltersHash != "") && c != pipeline.Plain {
			held[e.Digest] = false
			wanted[e.Digest] = pipeline.Layer{Blob: ocispec.Descriptor{MediaType: e.MediaType, Digest: e.Digest, Size: e.Size}}
		}
	}
	for _, r := range repositories {
		if err := p.askRepository(ctx, cmd, r, wanted, held); err != nil {
			return nil, err
		}
	}
	return held, nil
}

// askRepository notes which layers a repository holds.
func (p *program) askRepository(ctx context.Context, cmd *cobra.Command, repository string, wanted map[digest.Digest]pipeline.Layer, held map[digest.Digest]bool) (err error) {
	const scheme = "registry://"
	uri := scheme + strings.TrimPrefix(repository, scheme)
	places, err := p.places(cmd, p.warnings(), uri, uri)
	if err != nil {
		return err
	}
	places.Remote.Compression = "" // it is asked for layers as they are
	sink, err := p.schemes(places).Sink(uri)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sink.Close()) }()
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(p.options.parallel.value)
	for d, l := range wanted {
		group.Go(func() error {
			plan, err := sink.Plan(ctx, l)
			mu.Lock()
			defer mu.Unlock()
			held[d] = held[d] || plan.Held
			return err
		})
	}
	return group.Wait()
}
