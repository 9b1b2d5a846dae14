package filter_test

import (
	"archive/tar"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

func TestDenyNamesLayerFileAndRule(t *testing.T) {
	t.Parallel()
	clean := tarOf(t, dir("etc"), file("etc/hosts", "x"))
	dirty := tarOf(t, file("./root/.ssh/id_rsa", "12345"), file("b\x1b[2J.pem", ""), link("alias.pem", "etc/hosts"))
	src := imageOf(t, clean, dirty)
	layer := digest.FromBytes(pipelinetest.Compress(t, pipeline.Gzip, dirty)).Encoded()[:12]
	for spec, want := range map[string][]string{
		"deny:pattern=**/id_rsa":               {"layer " + layer + ": filter: deny refuses the layer: ./root/.ssh/id_rsa matches pattern=**/id_rsa"},
		"deny:pattern=**/id_rsa,*.pem":         {"id_rsa matches pattern=**/id_rsa; ", `"b\x1b[2J.pem" matches pattern=*.pem; `, "alias.pem matches pattern=*.pem"},
		"deny:max-size=4":                      {"./root/.ssh/id_rsa has 5 bytes, more than max-size=4"},
		"deny:max-size=4,pattern=*.pem":        {"max-size=4; ", "pattern=*.pem"},
		"deny:max-size=5":                      nil,
		"deny:max-size=1k":                     nil,
		"deny:pattern=*.key":                   nil,
		"deny:pattern=**/id_rsa,allow=root/**": nil,
		"deny:max-size=4,allow=root/.ssh/*":    nil,
		"deny:secrets=true":                    nil,
	} {
		why := denied(t, src, spec)
		if (why == "") != (want == nil) {
			t.Errorf("%s: %q", spec, why)
		}
		for _, w := range want {
			if !strings.Contains(why, w) || strings.Contains(why, "\x1b") {
				t.Errorf("%s: it says %q, not %q", spec, why, w)
			}
		}
	}
}

// It judges what is where it stands in the chain, and what it lets through stays
// as it is.
func TestDenyJudgesWhatIsAtItsPlace(t *testing.T) {
	t.Parallel()
	src := imageOf(t, tarOf(t, file("a.pem", keyPEM(t, "Ed25519")), file("b", "x")), tarOf(t, file(".wh.a.pem", "")))
	for _, rule := range []string{"deny:pattern=*.pem", "deny:secrets=true"} {
		if why := denied(t, src, rule, "exclude:pattern=*.pem"); !strings.Contains(why, "a.pem") {
			t.Errorf("%s before exclude: %q", rule, why)
		}
		if why := denied(t, src, "exclude:pattern=*.pem", rule); why != "" {
			t.Errorf("%s after exclude: %s", rule, why)
		}
	}
	clean := imageOf(t, tarOf(t, file("a", "x")))
	report := process(t, clean, pipelinetest.NewSink(), step{"deny:secrets=true,max-size=1m,pattern=*.pem", nil})
	if l := report.Layers[0]; l.How != pipeline.HowCopied || clean.Store.Opened(l.Source.Digest) != 1 {
		t.Errorf("a clean layer was %s, and opened %d times", l.How, clean.Store.Opened(l.Source.Digest))
	}
	report = process(t, clean, pipelinetest.NewSink(), step{"deny:pattern=*.pem", nil}, step{"normalize-timestamps:recompress=transcode", nil})
	if how := report.Layers[0].How; how != pipeline.HowTranscoded {
		t.Errorf("a rule about names had the layer %s", how)
	}
}

// A layer that the destination holds already is judged like any other.
func TestDenyIsNotSkippedWhereTheDestinationHoldsTheLayer(t *testing.T) {
	t.Parallel()
	src, dst := imageOf(t, tarOf(t, file("a.pem", keyPEM(t, "Ed25519")))), pipelinetest.NewSink()
	process(t, src, dst)
	for _, spec := range []string{"deny:pattern=*.pem", "deny:secrets=true", "deny:max-size=1"} {
		fs := []pipeline.Filter{newFilter(t, filter.Defaults{}, spec)}
		if _, err := pipeline.Run(t.Context(), src, fs, dst, pipeline.Options{}); err == nil || !strings.Contains(err.Error(), "a.pem") {
			t.Errorf("%s: %v", spec, err)
		}
	}
	if len(dst.Published) != 1 {
		t.Errorf("%d images were published", len(dst.Published))
	}
}

// What nobody reads nobody can judge.
func TestDenyRefusesLayersThatAreKeptElsewhere(t *testing.T) {
	t.Parallel()
	store := pipelinetest.NewStore()
	base := digest.FromString("base")
	config := store.PutJSON(t, ocispec.MediaTypeImageConfig, ocispec.Image{RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{base}}})
	root := store.PutJSON(t, ocispec.MediaTypeImageManifest, map[string]any{
		"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageManifest, "config": config,
		"layers": []any{ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: base, Size: 9, URLs: []string{"https://example.com/base"}}},
	})
	src := store.Source(root, "example.com/win:1")
	if why := denied(t, src, "deny:pattern=*.pem"); !strings.Contains(why, "deny refuses example.com/win:1: its layer "+base.String()) || !strings.Contains(why, "--foreign=fetch") {
		t.Errorf("it says %q", why)
	}
	if why := denied(t, src, "deny:env=TOKEN"); why != "" {
		t.Errorf("a rule about the environment says %q", why)
	}
}

func TestDenyJudgesTheConfig(t *testing.T) {
	t.Parallel()
	token := "ghp_" + chance(alnum, 36)
	config := func(user string, env ...string) pipelinetest.Image {
		return pipelinetest.Image{Config: ocispec.ImageConfig{User: user, Env: env}}
	}
	labelled := config("app")
	labelled.Config.Labels = map[string]string{"a.token": token}
	history := config("app")
	history.History = []ocispec.History{{CreatedBy: "|1 TOKEN=" + token + " /bin/sh -c make", EmptyLayer: true}}
	for _, c := range []struct {
		spec  string
		image pipelinetest.Image
		want  string // "" for an image that may pass
	}{
		{"deny:user=root", config(""), "it runs as root, since it names no user, which user=root forbids"},
		{"deny:user=root", config("root"), "it runs as root,"},
		{"deny:user=root", config("0"), "it runs as 0,"},
		{"deny:user=root", config("00:100"), "it runs as 00:100,"},
		{"deny:user=0", config("root:app"), "it runs as root:app, which user=0 forbids"},
		{"deny:user=root,admin", config("admin"), "which user=admin forbids"},
		{"deny:user=root", config("1000:0"), ""},
		{"deny:user=root", config("app"), ""},
		{"deny:env=*TOKEN*,AWS_*", config("app", "PATH=/bin", "gh_token=hunter2", "AWS_X"), "it sets the variable gh_token, which env=*token* forbids; it sets the variable AWS_X, which env=aws_* forbids"},
		{"deny:env=TOKEN", config("", "PATH=TOKEN", "TOKENS=1"), ""},
		{"deny:secrets=true", config("", "A=b", "TOKEN="+token), "its config has a GitHub token in config.Env[1] (secrets=true)"},
		{"deny:secrets=true", labelled, "a GitHub token in config.Labels.a.token "},
		{"deny:secrets=true", history, "a GitHub token in history[0].created_by "},
		{"deny:env=x,user=root", labelled, ""},
	} {
		store := pipelinetest.NewStore()
		why := denied(t, store.Source(store.Image(t, c.image), "example.com/app:1"), c.spec)
		if c.want == "" && why != "" || !strings.Contains(why, c.want) || strings.Contains(why, token) || strings.Contains(why, "hunter2") {
			t.Errorf("%s: it says %q, not %q", c.spec, why, c.want)
		}
		if c.want != "" && !strings.Contains(why, "deny refuses example.com/app:1 (linux/amd64): ") {
			t.Errorf("%s does not name the image: %s", c.spec, why)
		}
	}
}

// One error tells of everything, but not of thousands of files.
func TestDenyTellsTenAndCountsTheRest(t *testing.T) {
	t.Parallel()
	var members []member
	for range 25 {
		members = append(members, file("x", ""))
	}
	if why := denied(t, imageOf(t, tarOf(t, members...)), "deny:pattern=x"); strings.Count(why, "matches") != 10 || !strings.Contains(why, "; and 15 more") {
		t.Errorf("it says %q", why)
	}
}

// Links and devices have no content of their own.
func TestDenyLooksIntoRegularFilesOnly(t *testing.T) {
	t.Parallel()
	src := imageOf(t, tarOf(t, dir("d"), special(tar.TypeSymlink, "s", "ghp_"+chance(alnum, 36)), file("empty", "")))
	if why := denied(t, src, "deny:secrets=true"); why != "" {
		t.Error(why)
	}
}
