package check_test

import (
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/check"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

func TestAGoodImageHasNoErrorsAndNoWarnings(t *testing.T) {
	t.Parallel()
	for _, fast := range []bool{false, true} {
		p := good(t)
		r := run(t, p.put(t), check.Options{Fast: fast})
		if r.Count(check.Error)+r.Count(check.Warning) > 0 {
			t.Errorf("fast %t: %s", fast, messages(r))
		}
		for _, l := range p.manifest.Layers {
			if n := p.store.Opened(l.Digest); fast && n != 0 || !fast && n != 1 {
				t.Errorf("fast %t: a layer was opened %d times", fast, n)
			}
		}
	}
}

// spoil is an image for each check, with what is wrong in it.
var spoil = []struct {
	id   string
	says string // part of a message
	do   func(t *testing.T, p *parts)
}{
	{"manifest-media-type", "docker", func(_ *testing.T, p *parts) { p.manifest.MediaType = pipeline.MediaTypeDockerManifest }},
	{"schema-version", "is 1", func(_ *testing.T, p *parts) { p.manifest.SchemaVersion = 1 }},
	{"mixed-media-types", "docker", func(_ *testing.T, p *parts) {
		p.manifest.Layers[0].MediaType = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	}},
	{"oci-media-type", "OCI", func(*testing.T, *parts) {}},
	{"missing-blob", "not found", func(_ *testing.T, p *parts) { p.store.Delete(p.manifest.Layers[0].Digest) }},
	{"config-descriptor", "config", func(_ *testing.T, p *parts) {
		p.manifest.Config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig}
	}},
	{"config-digest", "expected", func(t *testing.T, p *parts) {
		p.manifest.Config = p.store.PutJSON(t, ocispec.MediaTypeImageConfig, p.config)
		p.config["architecture"] = "arm64"
		p.store.Corrupt(p.manifest.Config.Digest, p.store.Bytes(p.store.PutJSON(t, "", p.config).Digest))
	}},
	{"config-size", "bytes", func(t *testing.T, p *parts) {
		p.manifest.Config = p.store.PutJSON(t, ocispec.MediaTypeImageConfig, p.config)
		p.manifest.Config.Size++
	}},
	{"config-format", "", func(_ *testing.T, p *parts) {
		p.manifest.Config = p.store.Put(ocispec.MediaTypeImageConfig, []byte("{}}"))
	}},
	{"rootfs-type", `is ""`, func(_ *testing.T, p *parts) { delete(p.config["rootfs"].(map[string]any), "type") }},
	{"layer-count", "3 diff IDs for 2 layers", func(_ *testing.T, p *parts) {
		rootfs := p.config["rootfs"].(map[string]any)
		rootfs["diff_ids"] = append(rootfs["diff_ids"].([]string), digest.FromString("x").String())
	}},
	{"layer-descriptor", "layer 0", func(_ *testing.T, p *parts) { p.manifest.Layers[0].Digest = "sha256:1" }},
	{"history-count", "1 entry for 2 layers", func(_ *testing.T, p *parts) { p.config["history"] = p.config["history"].([]any)[:1] }},
	{"history-secret", "DB_PASSWORD=***", func(_ *testing.T, p *parts) {
		p.config["history"].([]any)[0] = map[string]any{"created_by": "ENV DB_PASSWORD=hunter2"}
	}},
	{"args-escaped", "ArgsEscaped", func(_ *testing.T, p *parts) { p.config["config"] = map[string]any{"ArgsEscaped": true} }},
	{"zstd-compat", "1 layer", func(t *testing.T, p *parts) {
		plain := pipelinetest.Tar(t)
		p.layer(ocispec.MediaTypeImageLayerZstd, pipelinetest.Compress(t, pipeline.Zstd, plain), plain)
	}},
	{"large-layer", "1 GiB", func(_ *testing.T, p *parts) { p.manifest.Layers[0].Size = 1<<30 + 1 }},
	{"layer-digest", "mismatch", func(_ *testing.T, p *parts) { p.store.Corrupt(p.manifest.Layers[1].Digest, []byte("no gzip")) }},
	{"layer-media-type", "says none, its bytes are gzip", func(_ *testing.T, p *parts) { p.manifest.Layers[0].MediaType = ocispec.MediaTypeImageLayer }},
	{"multi-member", "2 members", func(t *testing.T, p *parts) {
		plain := pipelinetest.Tar(t)
		p.layer(ocispec.MediaTypeImageLayerGzip, append(pipelinetest.Compress(t, pipeline.Gzip, plain[:512]), pipelinetest.Compress(t, pipeline.Gzip, plain[512:])...), plain)
	}},
	{"diff-id", "the config says", func(t *testing.T, p *parts) {
		p.layer(ocispec.MediaTypeImageLayer, pipelinetest.Tar(t), []byte("other"))
	}},
	{"tar-format", "not a valid tar", func(_ *testing.T, p *parts) {
		junk := []byte(strings.Repeat("junk", 500))
		p.layer(ocispec.MediaTypeImageLayer, junk, junk)
	}},
	{"name-escape", "../../x leads out", func(t *testing.T, p *parts) { p.files(t, file{Name: "../../x"}) }},
	{"link-escape", "hard link out of the tree", func(t *testing.T, p *parts) { p.files(t, file{Name: "x", Link: "../bin/su", Type: '1'}) }},
	{"link-escape", "symbolic link that climbs", func(t *testing.T, p *parts) { p.files(t, file{Name: "a/x", Link: "../../etc", Type: '2'}) }},
	{"long-name", "5000 bytes", func(t *testing.T, p *parts) { p.files(t, file{Name: strings.Repeat("a", 5000)}) }},
	{"hardlink-target", "nowhere", func(t *testing.T, p *parts) { p.files(t, file{Name: "x", Link: "none", Type: '1'}) }},
	{"hardlink-target", "to itself", func(t *testing.T, p *parts) { p.files(t, file{Name: "x", Link: "./x", Type: '1'}) }},
	{"hardlink-target", "comes after", func(t *testing.T, p *parts) { p.files(t, file{Name: "x", Link: "y", Type: '1'}, file{Name: "y"}) }},
	{"hardlink-target", "directory", func(t *testing.T, p *parts) { p.files(t, file{Name: "x", Link: "bin", Type: '1'}) }},
	{"hardlink-target", "layer 1 has deleted", func(t *testing.T, p *parts) { p.files(t, file{Name: "x", Link: "old", Type: '1'}) }},
	{"type-conflict", "lies below bin/sh", func(t *testing.T, p *parts) {
		p.files(t, file{Name: "bin/sh", Link: "/etc", Type: '2'}, file{Name: "bin/sh/passwd"})
	}},
	{"type-conflict", "directory and something else", func(t *testing.T, p *parts) { p.files(t, file{Name: "x/"}, file{Name: "x"}) }},
	{"type-conflict", "is a directory here and a file in layer 2", func(t *testing.T, p *parts) { p.files(t, file{Name: "bin"}) }},
	{"type-conflict", "layer 2 has entries below", func(t *testing.T, p *parts) { p.files(t, file{Name: "bin/su/x"}) }},
	{"case-conflict", "Bin and bin differ", func(t *testing.T, p *parts) { p.files(t, file{Name: "Bin/"}) }},
	{"case-conflict", "differ in case only", func(t *testing.T, p *parts) { p.files(t, file{Name: "x/A-B"}, file{Name: "x/A-b"}) }},
	{"whiteout", "names nothing", func(t *testing.T, p *parts) { p.files(t, file{Name: "bin/.wh."}) }},
	{"tar-timestamp", "before 1970", func(t *testing.T, p *parts) { p.files(t, file{Name: "x", Time: time.Unix(-5, 0)}) }},
	{"tar-permissions", "setuid and writable", func(t *testing.T, p *parts) { p.files(t, file{Name: "x", Mode: 0o4777}) }},
	{"setuid-lost", "no program", func(t *testing.T, p *parts) { p.files(t, file{Name: "x", Mode: 0o4755, Type: '6'}) }},
	{"setuid-lost", "capabilities that", func(t *testing.T, p *parts) {
		p.files(t, file{Name: "x", PAX: map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02"}})
	}},
	{"duplicate-file", "bin/su is in layers 0, 2", func(t *testing.T, p *parts) { p.files(t, file{Name: "bin/su", Body: "new"}) }},
	{"waste", "3 bytes", func(t *testing.T, p *parts) { p.files(t, file{Name: "bin/.wh..wh..opq"}) }},
}

// Each check has an image that trips it, says what is wrong, and is quiet on the
// good one (above).
func TestEveryCheckFindsWhatItIsFor(t *testing.T) {
	t.Parallel()
	for _, c := range spoil {
		t.Run(c.id+"/"+c.says, func(t *testing.T) {
			t.Parallel()
			p := good(t)
			c.do(t, p)
			r := run(t, p.put(t), check.Options{})
			found := of(r, c.id)
			if len(found) == 0 || !strings.Contains(messages(&check.Report{Results: found}), c.says) {
				t.Errorf("told is %s", messages(r))
			}
		})
	}
}

// What the whole report says of images that are spoilt in one place is that place.
func TestOneFaultIsToldOnce(t *testing.T) {
	t.Parallel()
	for _, c := range spoil {
		p := good(t)
		c.do(t, p)
		r := run(t, p.put(t), check.Options{})
		for _, res := range r.Results {
			if strings.Contains(res.Message, "): layer ") {
				t.Errorf("%s/%s names the layer twice: %s", c.id, c.says, res.Message)
			}
			if res.Severity == check.Error && res.Check != c.id && bad(c.id) == check.Error {
				switch c.id + " " + res.Check {
				case "missing-blob layer-read", "layer-descriptor layer-count": // one follows from the other
				default:
					t.Errorf("%s/%s: there is also %s: %s", c.id, c.says, res.Check, res.Message)
				}
			}
		}
	}
}

func TestEveryCheckHasATest(t *testing.T) {
	t.Parallel()
	elsewhere := map[string]bool{
		"metadata": true, "manifest-digest": true, "manifest-format": true, "index-entry": true, "platform": true, "docker-media-type": true,
		"max-size": true, "max-waste": true, "layer-read": true, "limits": true,
	}
	for _, s := range spoil {
		elsewhere[s.id] = true
	}
	for _, c := range check.Checks {
		if !elsewhere[c.ID] {
			t.Errorf("check %s has no image that trips it", c.ID)
		}
	}
}
