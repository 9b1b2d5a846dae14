package cliplugin

import (
	"context"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/layercache"
)

func (p *program) cacheListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ls [OPTIONS]",
		Short: "List what the layer cache knows",
		Long: `List what the layer cache knows: what layers became and by which recipe, what was
used last first. A layer goes by the digest of its plain tar or, where the result
depends on how it was compressed, of its stored bytes.`,
		Example: `  occystrap cache ls --layer-cache cache.json
  occystrap cache ls -O json`,
		Args: takes(),
		RunE: p.onCache(func(_ context.Context, _ *cobra.Command, _ []string) error {
			cache, damage, err := layercache.Inspect(p.options.layerCache, p.options.cacheConfig(nil, nil))
			if err != nil {
				return err
			}
			for _, d := range damage {
				p.warnings().Warn(fmt.Sprintf("the layer cache %s is damaged: %v", p.options.layerCache, d))
			}
			if p.options.output.value == outputJSON {
				return p.writeCacheJSON(cache.Entries())
			}
			if entries := cache.Entries(); len(entries) > 0 || len(damage) > 0 {
				return writeCache(p.docker.Out(), entries, time.Now())
			}
			return p.writeNoCache()
		}),
		DisableFlagsInUseLine: true,
	}
}

// writeCache is the list for people. What stored bytes hold is counted only.
func writeCache(w io.Writer, entries []layercache.Entry, now time.Time) error {
	shown, known := 0, 0
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "LAYER\tBECAME\tSIZE\tCOMPRESSION\tRECORDED\tUSED\tRECIPE")
	for _, e := range entries {
		if e.Recipe == "" && e.FiltersHash == "" {
			known++
			continue
		}
		shown++
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", shortDigest(e.Layer), shortDigest(e.Digest), human(e.Size),
			pipeline.LayerCompression(e.MediaType), since(e.Recorded, now), since(e.Used, now), pipeline.OneLine(cacheRecipe(e)))
	}
	if shown > 0 {
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%s above; of %s the content is known.\n",
		counted(shown, "outcome", "outcomes"), counted(known, "blob", "blobs"))
	return err
}

// writeNoCache tells a cache that is empty from one that is not there: its name
// may be wrong.
func (p *program) writeNoCache() error {
	text := p.options.layerCache + " knows nothing yet"
	if _, err := os.Stat(p.options.layerCache); err != nil {
		text = "There is no " + p.options.layerCache + " yet; process makes it"
	}
	_, err := fmt.Fprintln(p.docker.Out(), pipeline.OneLine(text)+".")
	return err
}

func cacheRecipe(e layercache.Entry) string {
	if e.FiltersHash != "" {
		return "filters_hash " + e.FiltersHash + " of the Python tool"
	}
	return e.Recipe
}

// since is how long ago something was; "" where the file does not say.
func since(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return age(now.Sub(t))
}

// cacheContent is the list for programs.
type cacheContent struct {
	Path    string       `json:"path"`
	Size    int64        `json:"size"`
	MaxSize int64        `json:"maxSize"`
	Entries []cacheEntry `json:"entries"`
}

type cacheEntry struct {
	Layer       digest.Digest `json:"layer"`
	Recipe      string        `json:"recipe"`
	FiltersHash string        `json:"filtersHash,omitempty"`
	Digest      digest.Digest `json:"digest"`
	Size        int64         `json:"size"`
	MediaType   string        `json:"mediaType"`
	DiffID      digest.Digest `json:"diffID,omitempty"`
	Place       string        `json:"place,omitempty"`
	Recorded    time.Time     `json:"recorded"`
	Used        time.Time     `json:"used"`
}

func (p *program) writeCacheJSON(entries []layercache.Entry) error {
	out := cacheContent{Path: p.options.layerCache, MaxSize: int64(p.options.layerCacheSize), Entries: []cacheEntry{}}
	if out.MaxSize == 0 {
		out.MaxSize = layercache.DefaultSize
	}
	if info, err := os.Stat(out.Path); err == nil {
		out.Size = info.Size()
	}
	for _, e := range entries {
		out.Entries = append(out.Entries, cacheEntry(e))
	}
	return writeJSON(p.docker.Out(), out)
}
