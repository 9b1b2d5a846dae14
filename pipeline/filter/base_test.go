package filter_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// The layers of a base image, of an application upon it, and what their history
// says of them.
const (
	distro  = "ADD rootfs.tar.gz / # buildkit"
	command = `CMD ["/bin/sh"]`
	install = "RUN install runtime"
	app     = "COPY app / # buildkit"
)

// built is an image whose history says these things; each instruction that makes a
// layer makes one with a file of that name.
func built(t *testing.T, store *pipelinetest.Store, notes map[string]string, instructions ...string) ocispec.Descriptor {
	t.Helper()
	i := pipelinetest.Image{Compression: pipeline.Gzip, Annotations: notes}
	for n, s := range instructions {
		h := ocispec.History{CreatedBy: s, Created: clock(fmt.Sprintf("2024-01-0%dT00:00:00Z", n+1))}
		switch strings.Fields(strings.TrimPrefix(s, "/bin/sh -c #(nop) "))[0] {
		case "CMD", "ENTRYPOINT", "ENV":
			h.EmptyLayer = true
		default:
			i.Layers = append(i.Layers, tarOf(t, file(strings.ReplaceAll(s, "/", "_"), s)))
		}
		i.History = append(i.History, h)
	}
	return store.Image(t, i)
}

// otherImages answers for registries: images by their references, or errors.
type otherImages map[string]any

func (o otherImages) open(store *pipelinetest.Store) func(context.Context, string, pipeline.Query) ([]pipeline.Manifest, error) {
	return func(ctx context.Context, ref string, q pipeline.Query) ([]pipeline.Manifest, error) {
		switch v := o[ref].(type) {
		case error:
			return nil, v
		case ocispec.Descriptor:
			return pipeline.ReadManifests(ctx, store.Source(v, ref), q)
		}
		return nil, fmt.Errorf("%s: %w", ref, pipeline.ErrNotFound)
	}
}

// based says which layers of an image stay, by diff ID, and what is noted of them.
func based(t *testing.T, store *pipelinetest.Store, img ocispec.Descriptor, others otherImages, spec string) (stay int, note string, err error) {
	t.Helper()
	f := newFilter(t, filter.Defaults{Images: others.open(store)}, spec)
	report, err := pipeline.Run(t.Context(), store.Source(img, "app:1"), []pipeline.Filter{f}, pipelinetest.NewSink(), pipeline.Options{Parallel: 1})
	for _, l := range report.Layers {
		if l.SourceDiffID == l.ResultDiffID {
			stay++
			note = strings.Join(l.Notes, "; ")
		}
	}
	return stay, note, err
}

func TestTheBaseStays(t *testing.T) {
	t.Parallel()
	store := pipelinetest.NewStore()
	base := built(t, store, nil, distro, command)
	moved := built(t, store, nil, "ADD other / ", command)
	sibling := built(t, store, nil, distro, command, "COPY sibling /")
	at := "example.com/base:1@" + base.Digest.String()
	named := map[string]string{ocispec.AnnotationBaseImageName: "example.com/base:1", ocispec.AnnotationBaseImageDigest: base.Digest.String()}
	whole := []string{distro, command, "ENV A=1", install, app}
	noHistory := []string{distro, app}
	for name, c := range map[string]struct {
		others       otherImages
		notes        map[string]string
		instructions []string
		spec         string
		stay         int
		note, err    string
	}{
		"by name":                         {otherImages{"base:1": base}, nil, whole, "base=base:1", 1, "base:1", ""},
		"by URI":                          {otherImages{"tar://base.tar": base}, nil, whole, "base=tar://base.tar", 1, "tar://base.tar", ""},
		"which is not it":                 {otherImages{"base:1": moved}, nil, whole, "base=base:1", 0, "", "the layers of base:1 are not its lowest ones"},
		"which is not there":              {otherImages{}, nil, whole, "base=base:1", 0, "", "read base:1"},
		"by digest":                       {otherImages{at: base, "example.com/base:1": moved}, named, whole, "base=auto", 1, at, ""},
		"by tag, the digest being gone":   {otherImages{"example.com/base:1": base}, named, whole, "base=auto", 1, "example.com/base:1", ""},
		"what is shared":                  {otherImages{"example.com/base:1": sibling}, named, noHistory, "base=auto", 1, "what it shares with example.com/base:1 (linux/amd64)", ""},
		"annotation that lies":            {otherImages{at: moved, "example.com/base:1": moved}, named, whole, "base=auto", 1, "the first 2 entries of its history", ""},
		"annotation of nothing":           {otherImages{}, named, whole, "base=auto", 1, "the first 2 entries of its history", ""},
		"registry that does not answer":   {otherImages{at: errors.New("no route")}, named, whole, "base=auto", 0, "", "(name the base with base=REF)"},
		"annotation that is a URI":        {otherImages{"tar://base.tar": base}, map[string]string{ocispec.AnnotationBaseImageName: "tar://base.tar"}, noHistory, "base=auto", 0, "", "neither annotations nor history tell it"},
		"by history":                      {nil, nil, []string{distro, command, install, `ENTRYPOINT ["x"]`, command, app}, "base=auto", 2, "the first 5 entries of its history", ""},
		"by the classic builder":          {nil, nil, []string{distro, `/bin/sh -c #(nop)  CMD ["sh"]`, app, command}, "base=auto", 1, "the first 2 entries of its history", ""},
		"an image that nothing tells":     {nil, nil, []string{distro, app, command}, "base=auto", 0, "", "base image of app:1 (linux/amd64): neither annotations nor history tell it; name it, as in base="},
		"an image that is all base":       {otherImages{"base:1": base}, nil, []string{distro, command}, "base=base:1", 1, "base:1", ""},
		"a base with more layers than it": {otherImages{"base:1": sibling}, nil, []string{distro, command}, "base=base:1", 0, "", "are not its lowest ones"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			img := built(t, store, c.notes, c.instructions...)
			stay, note, err := based(t, store, img, c.others, "normalize-timestamps:"+c.spec)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("the error is %v", err)
				}
				return
			}
			if want := "stays, since it belongs to the base image: " + c.note; err != nil || stay != c.stay || note != want {
				t.Errorf("%d layers stay, %q, %v", stay, note, err)
			}
		})
	}
}

// Each image of an index has the base of its platform, asked for once.
func TestEachPlatformHasItsBase(t *testing.T) {
	t.Parallel()
	store := pipelinetest.NewStore()
	index := func(layers int) ocispec.Descriptor {
		var all []ocispec.Descriptor
		for _, p := range []string{"linux/amd64", "linux/arm64"} {
			i := pipelinetest.Image{Platform: p}
			for n := range layers {
				i.Layers = append(i.Layers, tarOf(t, file(fmt.Sprint(p[6:], n), p)))
			}
			all = append(all, store.Image(t, i))
		}
		return store.Index(t, all...)
	}
	stay, _, err := based(t, store, index(3), otherImages{"base": index(2)}, "normalize-timestamps:base=base")
	if err != nil || stay != 4 {
		t.Errorf("%d layers stay, %v", stay, err)
	}
}

// With config=true, too, what the base image says of itself stays.
func TestTheHistoryOfTheBaseStays(t *testing.T) {
	t.Parallel()
	store := pipelinetest.NewStore()
	base := built(t, store, nil, distro, command)
	for _, c := range []struct {
		instructions []string
		want         []string
	}{
		{[]string{distro, command, app, "ENV A=1"}, []string{"2024-01-01", "2024-01-02", "1970-01-01", "1970-01-01"}},
		{[]string{distro, command}, []string{"2024-01-01", "2024-01-02"}},
	} {
		img := built(t, store, nil, c.instructions...)
		f := newFilter(t, filter.Defaults{Images: otherImages{"base": base}.open(store)}, "normalize-timestamps:base=base,config=true")
		sink := pipelinetest.NewSink()
		if _, err := pipeline.Run(t.Context(), store.Source(img), []pipeline.Filter{f}, sink, pipeline.Options{}); err != nil {
			t.Fatal(err)
		}
		var config ocispec.Image
		if err := json.Unmarshal(sink.Published[0].Config, &config); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, h := range config.History {
			got = append(got, h.Created.Format("2006-01-02"))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("times of the history (-want +got):\n%s", diff)
		}
		if all := len(c.instructions) == 2; all != (sink.Published[0].Desc.Digest == img.Digest) {
			t.Errorf("an image that is all base: %t; its digest is %s, was %s", all, sink.Published[0].Desc.Digest, img.Digest)
		}
	}
}

// An image shows its base by labels and by the entry of its index, too.
func TestLabelsTellTheBase(t *testing.T) {
	t.Parallel()
	store := pipelinetest.NewStore()
	low, high := tarOf(t, file("low", "")), tarOf(t, file("high", ""))
	base := store.Image(t, pipelinetest.Image{Layers: [][]byte{low}})
	names := map[string]string{ocispec.AnnotationBaseImageName: "base"}
	labelled := store.Image(t, pipelinetest.Image{Layers: [][]byte{low, high}, Config: ocispec.ImageConfig{Labels: names}})
	entry := store.Image(t, pipelinetest.Image{Layers: [][]byte{low, high}})
	entry.Annotations = names
	for _, img := range []ocispec.Descriptor{labelled, store.Index(t, entry)} {
		if stay, note, err := based(t, store, img, otherImages{"base": base}, "normalize-timestamps:base=auto"); stay != 1 || err != nil {
			t.Errorf("%d layers stay, %q, %v", stay, note, err)
		}
	}
}

func TestTheRecipeNamesTheBase(t *testing.T) {
	t.Parallel()
	with := newFilter(t, filter.Defaults{}, "normalize-timestamps:base=auto").Recipe()
	without := newFilter(t, filter.Defaults{}, "normalize-timestamps").Recipe()
	if want := "normalize-timestamps:ts=0,mode=set,config=false"; without.Key != want || with.Key != want+",base=auto" || !with.Below {
		t.Errorf("recipes are %+v and %+v", with, without)
	}
	if _, err := filter.Kinds(filter.Defaults{}).New("normalize-timestamps:base="); err == nil {
		t.Error("an empty base is accepted")
	}
}
