package cliplugin

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/layercache"
)

// installCache adds the options of the layer cache.
func (o *options) installCache(flags *pflag.FlagSet) {
	flags.StringVar(&o.layerCache, "layer-cache", "", "File that remembers what layers became, so that they are not made and sent again ($OCCYSTRAP_LAYER_CACHE)")
	flags.Var(&o.layerCacheSize, "layer-cache-size", "Most bytes of that file (default 4m; $OCCYSTRAP_LAYER_CACHE_SIZE)")
}

// cacheConfig is how the layer cache is kept by a run with these filters.
func (o *options) cacheConfig(filters []string, events pipeline.Events) layercache.Config {
	return layercache.Config{Size: int64(o.layerCacheSize), Filters: filters, Warn: events.Warn}
}

// openCache makes the layer cache part of a run, if there is one. What was found
// out counts whatever becomes of the run: layers that arrived need not be sent
// again to finish it. So save is called in any case; that it fails is no failure
// of the run.
func (o *options) openCache(ctx context.Context, filters []string, run *pipeline.Options) (save func(), err error) {
	if o.layerCache == "" {
		return func() {}, nil
	}
	cache, err := layercache.Open(ctx, o.layerCache, o.cacheConfig(filters, run.Events))
	if err != nil {
		return nil, err
	}
	run.Cache = cache
	return func() {
		if err := cache.Save(context.WithoutCancel(ctx)); err != nil {
			run.Events.Warn("what this run found out is not remembered: " + err.Error())
		}
	}, nil
}

func (p *program) cacheCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache COMMAND",
		Short: "Look at the layer cache and clear it up",
		Long: `Look at the layer cache and clear it up. The cache is the file that --layer-cache
or OCCYSTRAP_LAYER_CACHE names.`,
		Example: `  occystrap cache ls
  occystrap cache prune --older-than 30d
  occystrap cache verify registry.example/team/app`,
		Args:                  unknownCommand,
		RunE:                  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		DisableFlagsInUseLine: true,
	}
	cmd.AddCommand(p.cacheListCommand(), p.cachePruneCommand(), p.cacheVerifyCommand())
	return cmd
}

// onCache runs a command on the layer cache.
func (p *program) onCache(do func(ctx context.Context, cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if p.options.layerCache == "" {
			return usage(cmd, "No layer cache is named; give --layer-cache FILE, or set OCCYSTRAP_LAYER_CACHE")
		}
		ctx, stop := interruptible(cmd.Context())
		defer stop()
		return interruption(ctx, do(ctx, cmd, args))
	}
}

// warnings prints what the user should know while a command works on the cache.
func (p *program) warnings() pipeline.Events {
	return (&notices{w: p.docker.Err()}).event
}

func (p *program) cachePruneCommand() *cobra.Command {
	var all bool
	var older period
	var most size
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: "Forget entries of the layer cache",
		Long: `Forget entries of the layer cache: all, those that were not used for some time, or
as many as must go for the file to be small enough, the longest unused first.
Images and registries are not touched.`,
		Example: `  occystrap cache prune --older-than 30d
  occystrap cache prune --all`,
		Args: takes(),
		RunE: p.onCache(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			if !all && older == 0 && most == 0 {
				return usage(cmd, "Say what to forget: --all, --older-than TIME or --max-size BYTES")
			}
			limit := time.Now().Add(-time.Duration(older))
			return p.pruneCache(ctx, int64(most), func(e layercache.Entry) bool {
				return all || older > 0 && e.Used.Before(limit)
			})
		}),
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().BoolVar(&all, "all", false, "Forget everything")
	cmd.Flags().Var(&older, "older-than", "Forget what was not used for this time, as 12h, 30d or 8w")
	cmd.Flags().Var(&most, "max-size", "Forget the longest unused until the file has no more than these bytes, as 1m")
	return cmd
}

// pruneCache forgets what drop names, and says how much that was.
func (p *program) pruneCache(ctx context.Context, most int64, drop func(layercache.Entry) bool) error {
	cache, err := layercache.Open(ctx, p.options.layerCache, p.options.cacheConfig(nil, p.warnings()))
	if err != nil {
		return err
	}
	were, are, err := cache.Prune(ctx, drop, most)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.docker.Out(), "Forgot %d of %d entries.\n", were-are, were)
	return err
}

// period is a span of time, as 90m, 30d or 8w.
type period time.Duration

var _ pflag.Value = (*period)(nil)

func (p *period) Set(s string) error {
	const day = 24 * time.Hour
	for suffix, unit := range map[string]time.Duration{"d": day, "w": 7 * day} {
		number, ok := strings.CutSuffix(s, suffix)
		if n, err := strconv.ParseUint(number, 10, 16); ok && err == nil && n > 0 {
			*p = period(time.Duration(n) * unit)
			return nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return errors.New("it takes a time, as 12h, 30d or 8w")
	}
	*p = period(d)
	return nil
}

func (p *period) String() string {
	if *p == 0 {
		return ""
	}
	return time.Duration(*p).String()
}

func (p *period) Type() string { return "time" }
