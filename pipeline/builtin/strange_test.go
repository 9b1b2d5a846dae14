package builtin_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"runtime/debug"
	"slices"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/builtin"
	"github.com/occystrap/occystrap/pipeline/check"
	"github.com/occystrap/occystrap/pipeline/compare"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// strangeValues are what a stranger may write in the place of any other.
var strangeValues = []any{nil, map[string]any{}, []any{}, []any{nil}, "", "x", 0, -1, true}

// variants yields a JSON document with each of its values replaced by each strange
// one.
func variants(t *testing.T, raw []byte, yield func(where string, variant any)) {
	t.Helper()
	var doc any
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		each := func(at string, was any, set func(any)) {
			for _, s := range strangeValues {
				set(s)
				yield(fmt.Sprintf("%s = %#v", at, s), doc)
			}
			set(was)
			walk(at, was)
		}
		switch v := v.(type) {
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				each(at+"."+k, v[k], func(s any) { v[k] = s })
			}
		case []any:
			for i, was := range v {
				each(fmt.Sprintf("%s[%d]", at, i), was, func(s any) { v[i] = s })
			}
		}
	}
	walk("", doc)
}

// strangeImages yields images whose manifest or config is strange in one place.
func strangeImages(t *testing.T, yield func(where string, s *pipelinetest.Store, root ocispec.Descriptor)) {
	t.Helper()
	base := pipelinetest.NewStore()
	layer := func(name string) []byte { return pipelinetest.Tar(t, pipelinetest.File{Name: name, Body: name}) }
	root := base.Image(t, pipelinetest.Image{
		Compression: pipeline.Gzip, Layers: [][]byte{layer("a"), layer("b")}, Annotations: map[string]string{"k": "v"},
		Config: ocispec.ImageConfig{
			User: "1:2", Env: []string{"A=b"}, Cmd: []string{"sh"}, Labels: map[string]string{"l": "m"},
			Volumes: map[string]struct{}{"/data": {}}, ExposedPorts: map[string]struct{}{"80/tcp": {}},
		},
	})
	var m ocispec.Manifest
	if err := json.Unmarshal(base.Bytes(root.Digest), &m); err != nil {
		t.Fatal(err)
	}
	variants(t, base.Bytes(root.Digest), func(where string, manifest any) {
		yield("manifest"+where, base, base.PutJSON(t, root.MediaType, manifest))
	})
	variants(t, base.Bytes(m.Config.Digest), func(where string, config any) {
		changed := m
		changed.Config = base.PutJSON(t, m.Config.MediaType, config)
		yield("config"+where, base, base.PutJSON(t, root.MediaType, changed))
	})
}

// standing fails the test, with the place that was strange, where do panics.
func standing(t *testing.T, where string, do func()) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("%s: panic: %v\n%s", where, p, debug.Stack())
		}
	}()
	do()
}

// Whatever stands in a manifest or config in the place of what should: filters
// change the image or say what is wrong with it; what they publish is whole.
func TestFiltersStandStrangeManifestsAndConfigs(t *testing.T) {
	t.Parallel()
	chains := [][]string{
		{"normalize-timestamps:config=true", "config:user=me,env=X=y,label=a=b,annotation=c=d,cmd=run"},
		{"flatten", "exclude:pattern=a"},
		{"normalize-timestamps:base=auto,config=true"},
		{"deny:user=root,env=*SECRET*", "inspect:file=" + filepath.Join(t.TempDir(), "i"), "recompress:zstd"},
	}
	modes := []pipeline.ProvenanceMode{pipeline.ProvenanceReferrer, pipeline.ProvenanceAnnotation}
	whole := 0
	strangeImages(t, func(where string, s *pipelinetest.Store, root ocispec.Descriptor) {
		for i, chain := range chains {
			standing(t, where, func() {
				opts := pipeline.Options{Query: pipeline.Query{Referrers: true}, Provenance: pipeline.Provenance{Mode: modes[i%len(modes)]}}
				dst := pipelinetest.NewSink()
				report, err := pipeline.Run(t.Context(), s.Source(root, "registry.example/app:1"), chainOf(t, chain), dst, opts)
				if err != nil {
					return
				}
				whole++
				if err := pipeline.Verify(t.Context(), dst.Store.Source(dst.Published[0].Desc), report, pipeline.Options{}); err != nil {
					t.Errorf("%s: %v: what was published is not whole: %v", where, chain, err)
				}
			})
		}
	})
	if least := 100; whole < least {
		t.Errorf("%d images were published, expected at least %d", whole, least)
	}
}

func chainOf(t *testing.T, specs []string) (filters []pipeline.Filter) {
	t.Helper()
	for _, spec := range specs {
		f, err := builtin.Filters(builtin.Config{}).New(spec)
		if err != nil {
			t.Fatal(err)
		}
		filters = append(filters, f)
	}
	return filters
}

// The same for destinations that read manifests and configs themselves.
func TestDestinationsStandStrangeManifestsAndConfigs(t *testing.T) {
	t.Parallel()
	// Each place gets to each of them, if not with each value.
	destinations := []string{"tar://%s?format=docker", "tar://%s", "dir://%s?expand=true", "dir://%s?format=oci", "oci://%s?volumes=tmpfs"}
	i := 0
	strangeImages(t, func(where string, s *pipelinetest.Store, root ocispec.Descriptor) {
		to := fmt.Sprintf(destinations[i%len(destinations)], filepath.Join(t.TempDir(), "x"))
		i++
		standing(t, where+" to "+to, func() {
			dst := sinkOf(t, to)
			_, _ = pipeline.Run(t.Context(), s.Source(root, "registry.example/app:1"), nil, dst, pipeline.Options{}) // to refuse it is as good
		})
	})
}

// The same for those who judge and compare.
func TestJudgesStandStrangeManifestsAndConfigs(t *testing.T) {
	t.Parallel()
	var whole *pipelinetest.Source
	strangeImages(t, func(where string, s *pipelinetest.Store, root ocispec.Descriptor) {
		src := s.Source(root, "registry.example/app:1")
		if whole == nil {
			whole = src
		}
		standing(t, where, func() {
			_, _ = check.Run(t.Context(), src, check.Options{})
			if c, err := compare.Run(t.Context(), compare.Input{Source: whole}, compare.Input{Source: src}, compare.Options{TempDir: t.TempDir()}); err == nil {
				_ = c.Close()
			}
		})
	})
}
