package filter_test

import (
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
)

func TestConfigTimesFollowOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	const config = `{ "x-unknown": [1,  2.50], "created":"2024-05-06T07:08:09.123456789Z",
 "config": {"Cmd":["a<b>&c","é"]},
 "history" : [ {"created":"2023-01-01T00:00:00Z", "created_by" : "ADD", "x":1e3} ,{"created_by":"no time"}, {"created":null}, {"created":"2025-01-01T01:00:00+02:00"}]
}`
	for spec, want := range map[string]string{
		"normalize-timestamps": config,
		"normalize-timestamps:config=true": `{ "x-unknown": [1,  2.50], "created":"1970-01-01T00:00:00Z",
 "config": {"Cmd":["a<b>&c","é"]},
 "history" : [ {"created":"1970-01-01T00:00:00Z", "created_by" : "ADD", "x":1e3} ,{"created_by":"no time"}, {"created":null}, {"created":"1970-01-01T00:00:00Z"}]
}`,
		"normalize-timestamps:config=true,mode=clamp,ts=1714979289": `{ "x-unknown": [1,  2.50], "created":"2024-05-06T07:08:09Z",
 "config": {"Cmd":["a<b>&c","é"]},
 "history" : [ {"created":"2023-01-01T00:00:00Z", "created_by" : "ADD", "x":1e3} ,{"created_by":"no time"}, {"created":null}, {"created":"2024-05-06T07:08:09Z"}]
}`,
		"normalize-timestamps:config=true,mode=clamp,ts=1800000000": config,
	} {
		t.Run(spec, func(t *testing.T) {
			t.Parallel()
			f := newFilter(t, filter.Defaults{}, spec).(pipeline.ConfigFilter)
			got, err := f.Config(t.Context(), ocispec.Descriptor{}, []byte(config))
			if err != nil || string(got) != want {
				t.Fatalf("error %v, config is\n%s\nwant\n%s", err, got, want)
			}
			again, err := f.Config(t.Context(), ocispec.Descriptor{}, got)
			if err != nil || string(again) != want {
				t.Errorf("the second time: error %v, config is\n%s", err, again)
			}
		})
	}
}

func TestConfigThatIsNotOneIsAnErrorOrLeftAlone(t *testing.T) {
	t.Parallel()
	for config, ok := range map[string]bool{
		`{}`:                                  true,
		`{"history":null,"created":null}`:     true,
		`{"history":[]}`:                      true,
		`not JSON`:                            false,
		`{"history":{}}`:                      false,
		`{"history":["text"]}`:                false,
		`{"history":[{"created":"x"},`:        false,
		`{"created":"a","created":"b"}`:       false,
		`{"history":[{"Created":"2024-01"}]}`: false, // others take it for created
	} {
		f := newFilter(t, filter.Defaults{}, "normalize-timestamps:config=true").(pipeline.ConfigFilter)
		got, err := f.Config(t.Context(), ocispec.Descriptor{}, []byte(config))
		if ok != (err == nil) || ok && string(got) != config {
			t.Errorf("%s: error %v, became %s", config, err, got)
		}
	}
}

func TestClampLeavesAConfigTimeThatIsNone(t *testing.T) {
	t.Parallel()
	const config = `{"created":"long ago","history":[{"created":12}]}`
	f := newFilter(t, filter.Defaults{}, "normalize-timestamps:config=true,mode=clamp").(pipeline.ConfigFilter)
	if got, err := f.Config(t.Context(), ocispec.Descriptor{}, []byte(config)); err != nil || string(got) != config {
		t.Errorf("error %v, became %s", err, got)
	}
}
