package filter_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// attested is an index of three images; two of them have attestations.
func attested(t *testing.T) (*pipelinetest.Source, map[string]digest.Digest) {
	t.Helper()
	store := pipelinetest.NewStore()
	named := map[string]digest.Digest{}
	var all []ocispec.Descriptor
	for _, p := range []string{"linux/amd64", "linux/arm64", "linux/s390x"} {
		d := store.Image(t, pipelinetest.Image{Platform: p, Layers: [][]byte{tarOf(t, file(p, "x"))}})
		named[p] = d.Digest
		if all = append(all, d); p != "linux/s390x" {
			all = append(all, store.Attestation(t, d.Digest))
			named["of "+p] = all[len(all)-1].Digest
		}
	}
	return store.Source(store.Index(t, all...), "example.com/app:1"), named
}

// entries are the manifests of a published index, by the names of attested.
func entries(t *testing.T, dst *pipelinetest.Sink, named map[string]digest.Digest) (out []string) {
	t.Helper()
	var idx ocispec.Index
	if err := json.Unmarshal(dst.Published[0].Raw, &idx); err != nil {
		t.Fatal(err)
	}
	for name, d := range named {
		if slices.ContainsFunc(idx.Manifests, func(m ocispec.Descriptor) bool { return m.Digest == d }) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func TestPlatformsAndAttestationsChooseFromAnIndex(t *testing.T) {
	t.Parallel()
	whole := []string{"linux/amd64", "linux/arm64", "linux/s390x", "of linux/amd64", "of linux/arm64"}
	for _, c := range []struct {
		specs []string
		want  []string
	}{
		{[]string{"platforms:all=true"}, whole},
		{[]string{"platforms:only=linux/arm64,linux/s390x"}, []string{"linux/arm64", "linux/s390x", "of linux/arm64"}},
		{[]string{"attestations:mode=drop"}, whole},
		{[]string{"attestations:mode=none"}, []string{"linux/amd64", "linux/arm64", "linux/s390x"}},
		{[]string{"attestations:mode=none", "platforms:only=linux/amd64,linux/s390x"}, []string{"linux/amd64", "linux/s390x"}},
		{[]string{"attestations:mode=none", "attestations:mode=drop"}, whole},
	} {
		src, named := attested(t)
		dst := pipelinetest.NewSink()
		var steps []step
		for _, s := range c.specs {
			steps = append(steps, step{s, nil})
		}
		report := process(t, src, dst, steps...)
		if diff := cmp.Diff(c.want, entries(t, dst, named)); diff != "" {
			t.Errorf("%v: entries (-want +got):\n%s", c.specs, diff)
		}
		if c.specs[0] == "attestations:mode=none" && len(c.specs) == 1 {
			if diff := cmp.Diff([]string{"the attestation of linux/amd64", "the attestation of linux/arm64"}, report.Dropped); diff != "" {
				t.Errorf("left out (-want +got):\n%s", diff)
			}
		}
	}
}

// What is not chosen is not read.
func TestPlatformsReadsNothingElse(t *testing.T) {
	t.Parallel()
	src, named := attested(t)
	process(t, src, pipelinetest.NewSink(), step{"exclude:pattern=none", nil}, step{"platforms:only=linux/arm64,linux/s390x", nil})
	if src.Store.Opened(named["linux/amd64"]) > 0 || src.Store.Opened(named["of linux/amd64"]) > 0 {
		t.Error("a manifest was opened that nobody wanted")
	}
}

func TestImagesAreNotChosenTwice(t *testing.T) {
	t.Parallel()
	src, _ := attested(t)
	choice := newFilter(t, filter.Defaults{}, "platforms:all=true")
	opts := pipeline.Options{Query: pipeline.Query{Platforms: pipeline.Platforms{All: true}}}
	var usage *pipeline.UsageError
	if _, err := pipeline.Run(t.Context(), src, []pipeline.Filter{choice}, pipelinetest.NewSink(), opts); !errors.As(err, &usage) {
		t.Errorf("with an option: %v", err)
	}
	if _, err := pipeline.Run(t.Context(), src, []pipeline.Filter{choice, choice}, pipelinetest.NewSink(), pipeline.Options{}); !errors.As(err, &usage) {
		t.Errorf("with another filter: %v", err)
	}
	if err := pipeline.Look(t.Context(), src, []pipeline.Filter{choice, choice}, pipeline.Options{}); !errors.As(err, &usage) {
		t.Errorf("without a sink: %v", err)
	}
}

func TestRecompressWantsACompressionThatItKnows(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string]string{
		"recompress":                          "recompress filter needs a compression, as in recompress:zstd or recompress:gzip,level=9",
		"recompress:level=3":                  "recompress filter needs a compression, as in recompress:zstd or recompress:gzip,level=9",
		"recompress:lz4":                      `recompress: filter option compression is "lz4"; it takes gzip or zstd`,
		"recompress:gzip,level=10":            "recompress: filter option level is 10; gzip takes 1 to 9",
		"recompress:zstd,level=0":             "recompress: filter option level is 0; zstd takes 1 to 22",
		"recompress:zstd,level=best":          `recompress: filter option level is "best"; it takes a whole number`,
		"recompress:zstd":                     "",
		"recompress:compression=gzip,level=9": "",
		"recompress:zstd,level=22":            "",
	} {
		_, err := filter.Kinds(filter.Defaults{}).New(spec)
		if got := fmt.Sprint(err); got != want && (want != "" || err != nil) {
			t.Errorf("%s: %s", spec, got)
		}
	}
}

func TestRecompressStandsOnce(t *testing.T) {
	t.Parallel()
	var opts pipeline.Options
	for i, spec := range []string{"recompress:zstd,level=19", "recompress:gzip"} {
		err := newFilter(t, filter.Defaults{}, spec).(pipeline.Chooser).Choose(&opts)
		var usage *pipeline.UsageError
		if (i > 0) != errors.As(err, &usage) {
			t.Errorf("%s: %v", spec, err)
		}
	}
	if want := (pipeline.Storing{Compression: pipeline.Zstd, Level: 19}); opts.Storing != want || opts.Parallel != 1 {
		t.Errorf("the run has %+v", opts)
	}
}
