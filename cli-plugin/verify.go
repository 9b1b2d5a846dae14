package cliplugin

import (
	"context"
	"slices"
	"strings"

	"github.com/occystrap/occystrap/pipeline"
)

// readBack is the destination as a source, for --verify. Nothing is opened yet:
// a place that cannot be read back is told of before the run.
func readBack(schemes pipeline.Schemes, to string) (pipeline.Source, error) {
	uri, err := asSource(schemes, to)
	if err != nil {
		return nil, err
	}
	src, err := schemes.Source(uri)
	if err != nil {
		return nil, pipeline.Usage("--verify cannot read the destination back: %v", err)
	}
	return src, nil
}

// verify reads the destination whole: every digest that the run reported must be
// there, and be true.
func verify(ctx context.Context, src pipeline.Source, done pipeline.Report, opts pipeline.Options) error {
	// What was published is what is wanted now, whatever was chosen from the
	// source before.
	opts.Platforms = pipeline.Platforms{All: true}
	return pipeline.Verify(ctx, src, done, opts)
}

// asSource is a destination's URI without the options that have a meaning for
// destinations only (compression=, format=).
func asSource(schemes pipeline.Schemes, uri string) (string, error) {
	loc, err := pipeline.ParseLocation(uri)
	if err != nil {
		return "", err
	}
	if isStandardStream(loc) {
		return "", pipeline.Usage("--verify cannot read standard output back; write to a file, or leave --verify out")
	}
	uri, _, _ = strings.Cut(uri, "#")
	base, query, hasQuery := strings.Cut(uri, "?")
	if !hasQuery {
		return uri, nil
	}
	kept := slices.DeleteFunc(strings.Split(query, "&"), func(part string) bool {
		key, _, _ := strings.Cut(part, "=")
		return sinkOnly(schemes, loc.Scheme, key)
	})
	return base + "?" + strings.Join(kept, "&"), nil
}

func sinkOnly(schemes pipeline.Schemes, name, key string) bool {
	for _, s := range schemes {
		if s.Name != name && !slices.Contains(s.Aliases, name) {
			continue
		}
		for _, o := range s.Options {
			if o.Name == key || slices.Contains(o.Aliases, key) {
				return !o.Source
			}
		}
	}
	return false
}

// isStandardStream says whether a location is tar://-, standard input or
// output. A directory may be called "-".
func isStandardStream(loc pipeline.Location) bool {
	return (loc.Scheme == "tar" || loc.Scheme == "file") && loc.Host+loc.Path == "-" && loc.User == nil
}
