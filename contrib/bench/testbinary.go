package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// What pipelinetest.BenchLayers reads and writes; that package is for tests only.
const (
	layersVariable = "OCCYSTRAP_BENCH_LAYERS"
	reportVariable = "OCCYSTRAP_BENCH_REPORT"
)

// A layerPass is what one pass over all layers came to.
type layerPass struct {
	Plain, Stored int64
	Digests       []string
}

// A passing is a contender whose code is internal to pipeline, or a library that
// does the same: one benchmark of the package's test binary. That is a process
// which makes one pass over all layers and ends, reading included, so that it is
// measured as the programs are.
type passing struct {
	name      string // as the table calls it
	pkg, tags string
	bench     string // below BenchmarkLayers
	cores     int
	plain     bool // reads plain tars in place of compressed layers
}

// passes is a job of such contenders, which must come to the same plain bytes.
func (b *bench) passes(j job, all ...passing) job {
	var first *layerPass
	j.input = b.checker.image.size()
	for _, p := range all {
		j.contenders = append(j.contenders, contender{name: p.name, start: func(ctx context.Context, t trial) (attempt, error) {
			c, err := b.passCommand(ctx, p, t.out)
			var got layerPass
			return attempt{
				command: c,
				check: func(context.Context) error {
					if err := readReport(t.out, &got); err != nil {
						return err
					}
					if first == nil {
						first = &got
					}
					return samePass(*first, got, b.plain)
				},
				amount: func(context.Context) (amounts, error) { return amounts{Plain: got.Plain, Size: got.Stored}, nil },
			}, err
		}})
	}
	return j
}

// passCommand builds what it calls, and unpacks what that reads, when it is first
// needed.
func (b *bench) passCommand(ctx context.Context, p passing, report string) (command, error) {
	program, err := b.testBinary(ctx, p.pkg, p.tags)
	if err != nil {
		return command{}, err
	}
	files := b.blobs
	if p.plain {
		if files, err = b.plainLayers(); err != nil {
			return command{}, err
		}
	}
	return command{
		args: []string{program, "-test.run=^$", "-test.bench=^BenchmarkLayers$/^" + p.bench + "$", "-test.benchtime=1x", "-test.timeout=0"},
		env: []string{
			"GOMAXPROCS=" + strconv.Itoa(p.cores), reportVariable + "=" + report,
			layersVariable + "=" + strings.Join(files, string(filepath.ListSeparator)),
		},
	}, nil
}

// testBinary builds the tests of a package, once for each set of tags.
func (b *bench) testBinary(ctx context.Context, pkg, tags string) (string, error) {
	out := filepath.Join(b.dir, "bin", filepath.Base(pkg)+tags+".test")
	if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
		return out, err
	}
	_, err := command{
		args: []string{"go", "test", "-c", "-trimpath", "-tags", tags, "-o", out, pkg},
		dir:  b.module, env: append([]string{"CGO_ENABLED=0"}, b.goEnv...),
	}.run(ctx)
	return out, err
}

// plainLayers are the layers as plain tars, unpacked once.
func (b *bench) plainLayers() ([]string, error) {
	dir := filepath.Join(b.dir, "plain")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	var out []string
	for n, blob := range b.blobs {
		name := filepath.Join(dir, strconv.Itoa(n)+".tar")
		out = append(out, name)
		if _, err := os.Stat(name); err == nil {
			continue
		}
		if err := unpack(name, blob); err != nil {
			return nil, fmt.Errorf("unpack %s: %w", blob, err)
		}
	}
	return out, nil
}

func unpack(to, blob string) error {
	f, err := os.Open(blob)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	w, err := os.Create(to + ".new")
	if err != nil {
		return err
	}
	_, err = io.Copy(w, z)
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	return os.Rename(to+".new", to)
}

// readReport reads what a pass came to.
func readReport(file string, to *layerPass) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("the benchmark did not run: %w", err)
	}
	return json.Unmarshal(raw, to)
}

// samePass wants all plain bytes read, and the same digests as those of another
// contender.
func samePass(first, got layerPass, plain int64) error {
	switch {
	case got.Plain != plain:
		return fmt.Errorf("%d plain bytes, not %d", got.Plain, plain)
	case !slices.Equal(first.Digests, got.Digests):
		return fmt.Errorf("other digests: %v, not %v", got.Digests, first.Digests)
	}
	return nil
}
