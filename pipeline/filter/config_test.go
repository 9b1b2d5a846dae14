package filter_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// What is not asked for keeps its bytes, white space and fields that nobody
// knows included.
func TestConfigSetsAndRemovesAndKeepsTheRest(t *testing.T) {
	t.Parallel()
	const in = `{ "x-new": [1,  2.50], "config": {"User":"root", "Env":["PATH=/bin","A=1","B=2","A=3"], "Cmd":["sh", "-c"],"x-odd":1e3, "Labels":{"b":"2","a":"1","com.x.y":"z"}, "WorkingDir":"/w"}, "os":"linux"}`
	for spec, want := range map[string]string{
		"config:user=root,workdir=/w":                        in,
		`config:cmd=["sh","-c"]`:                             in,
		"config:env=B=2,label=b=2,unset-env=C,unset-label=c": in,
		"config:annotation=a=b":                              in,
		"config:user=app:1000":                               `{ "x-new": [1,  2.50], "config": {"User":"app:1000", "Env":["PATH=/bin","A=1","B=2","A=3"], "Cmd":["sh", "-c"],"x-odd":1e3, "Labels":{"b":"2","a":"1","com.x.y":"z"}, "WorkingDir":"/w"}, "os":"linux"}`,
		"config:env=A=x,env=C=":                              `{ "x-new": [1,  2.50], "config": {"User":"root", "Env":["PATH=/bin","A=x","B=2","C="], "Cmd":["sh", "-c"],"x-odd":1e3, "Labels":{"b":"2","a":"1","com.x.y":"z"}, "WorkingDir":"/w"}, "os":"linux"}`,
		"config:unset-env=A,label=c=<&>,unset-label=com.*":   `{ "x-new": [1,  2.50], "config": {"User":"root", "Env":["PATH=/bin","B=2"], "Cmd":["sh", "-c"],"x-odd":1e3, "Labels":{"a":"1","b":"2","c":"<&>"}, "WorkingDir":"/w"}, "os":"linux"}`,
		`config:cmd=["a","b,c=d"],workdir=,user=`:            `{ "x-new": [1,  2.50], "config": {"Env":["PATH=/bin","A=1","B=2","A=3"],"Cmd":["a","b,c=d"],"x-odd":1e3,"Labels":{"b":"2","a":"1","com.x.y":"z"}}, "os":"linux"}`,
		"config:unset-env=*,unset-label=*,cmd=":              `{ "x-new": [1,  2.50], "config": {"User":"root","x-odd":1e3,"WorkingDir":"/w"}, "os":"linux"}`,
	} {
		f := newFilter(t, filter.Defaults{}, spec).(pipeline.ConfigFilter)
		for _, raw := range []string{in, want} { // twice is the same as once
			got, err := f.Config(t.Context(), ocispec.Descriptor{}, []byte(raw))
			if err != nil || string(got) != want {
				t.Errorf("%s: error %v, config is\n%s\nwant\n%s", spec, err, got, want)
			}
		}
	}
}

func TestConfigMakesWhatIsNotThere(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"os":"linux"}`:                    `{"os":"linux","config":{"Env":["A=1"],"Labels":{"l":"2"},"User":"u","WorkingDir":"/w","Entrypoint":["/bin/sh","-c","echo a, b"],"Cmd":["x"]}}`,
		`{"config":null}`:                   `{"config":{"Env":["A=1"],"Labels":{"l":"2"},"User":"u","WorkingDir":"/w","Entrypoint":["/bin/sh","-c","echo a, b"],"Cmd":["x"]}}`,
		`{"config":{"Labels":null}}`:        `{"config":{"Labels":{"l":"2"},"Env":["A=1"],"User":"u","WorkingDir":"/w","Entrypoint":["/bin/sh","-c","echo a, b"],"Cmd":["x"]}}`,
		`{"config":{"User":"a","uSer":""}}`: "",
	} {
		f := newFilter(t, filter.Defaults{}, `config:env=A=1,label=l=2,user=u,workdir=/w,entrypoint=echo a, b,cmd=["x"]`).(pipeline.ConfigFilter)
		got, err := f.Config(t.Context(), ocispec.Descriptor{}, []byte(in))
		if (err != nil) != (want == "") || string(got) != want {
			t.Errorf("error %v, config is\n%s\nwant\n%s", err, got, want)
		}
	}
}

// A change of the config is no change of layers; a Docker manifest has no
// annotations and becomes an OCI one with them.
func TestConfigChangesConfigAndAnnotationsAlone(t *testing.T) {
	t.Parallel()
	for name, docker := range map[string]bool{"oci": false, "docker": true} {
		store, dst := pipelinetest.NewStore(), pipelinetest.NewSink()
		image := pipelinetest.Image{Docker: docker, Compression: pipeline.Gzip, Layers: [][]byte{tarOf(t, file("a", "x"))}}
		if !docker {
			image.Annotations = map[string]string{"old": "1", "com.x.a": "2"}
		}
		src := store.Source(store.Image(t, image), "app:1")
		report := process(t, src, dst, step{"config:annotation=new=<3>,unset-annotation=com.x.*,user=app", nil})
		if l := report.Layers[0]; l.How != pipeline.HowCopied || l.Source.Digest != l.Result.Digest {
			t.Errorf("%s: the layer was %s", name, l.How)
		}
		m := dst.Published[0]
		var got ocispec.Manifest
		var config ocispec.Image
		if err := json.Unmarshal(m.Raw, &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(m.Config, &config); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"new": "<3>", "old": "1"}
		if docker {
			delete(want, "old")
		}
		if !maps.Equal(got.Annotations, want) || config.Config.User != "app" {
			t.Errorf("%s: annotations are %v, the user is %q", name, got.Annotations, config.Config.User)
		}
		types := []string{m.Desc.MediaType, got.MediaType, got.Config.MediaType, got.Layers[0].MediaType}
		if diff := cmp.Diff([]string{ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageConfig, ocispec.MediaTypeImageLayerGzip}, types); diff != "" {
			t.Errorf("%s: types (-want +got):\n%s", name, diff)
		}
		// Nothing to change is no change.
		again := pipelinetest.NewSink()
		process(t, dst.Store.Source(m.Desc, "app:1"), again, step{"config:annotation=new=<3>,user=app,unset-annotation=gone", nil})
		if !bytes.Equal(again.Published[0].Raw, m.Raw) {
			t.Errorf("%s: the same again is\n%s\nnot\n%s", name, again.Published[0].Raw, m.Raw)
		}
	}
}
