package check_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/check"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

type file = pipelinetest.File

// parts are what an image is made of, to be spoilt before it is stored.
type parts struct {
	store    *pipelinetest.Store
	config   map[string]any
	manifest ocispec.Manifest
	desc     ocispec.Descriptor
}

// layer stores a layer and adds it to config and manifest.
func (p *parts) layer(mediaType string, stored, plain []byte) {
	p.manifest.Layers = append(p.manifest.Layers, p.store.Put(mediaType, stored))
	rootfs := p.config["rootfs"].(map[string]any)
	rootfs["diff_ids"] = append(rootfs["diff_ids"].([]string), digest.FromBytes(plain).String())
	p.config["history"] = append(p.config["history"].([]any), map[string]any{"created_by": "COPY . /"})
}

func (p *parts) files(t testing.TB, files ...file) {
	t.Helper()
	plain := pipelinetest.Tar(t, files...)
	p.layer(ocispec.MediaTypeImageLayerGzip, pipelinetest.Compress(t, pipeline.Gzip, plain), plain)
}

// put stores config and manifest as they are now.
func (p *parts) put(t testing.TB) *pipelinetest.Source {
	t.Helper()
	if p.manifest.Config.Digest == "" && p.manifest.Config.MediaType == "" {
		p.manifest.Config = p.store.PutJSON(t, ocispec.MediaTypeImageConfig, p.config)
	}
	p.desc = p.store.PutJSON(t, ocispec.MediaTypeImageManifest, p.manifest)
	return p.store.Source(p.desc, "docker.io/library/app:1")
}

// good is an image that nothing is wrong with.
func good(t testing.TB) *parts {
	t.Helper()
	p := &parts{
		store: pipelinetest.NewStore(),
		config: map[string]any{
			"os": "linux", "architecture": "amd64", "history": []any{},
			"rootfs": map[string]any{"type": "layers", "diff_ids": []string{}},
			"config": map[string]any{"Env": []string{"PATH=/bin", "TOKEN_FILE=/run/secrets/token"}},
		},
		manifest: ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest},
	}
	p.files(t, file{Name: "bin/"}, file{Name: "bin/su", Body: "su", Mode: 0o4755}, file{Name: "bin/sh", Link: "bin/su", Type: '1'}, file{Name: "old", Body: "o"})
	p.files(t, file{Name: "bin/"}, file{Name: "bin/ls", Link: "../bin/sh", Type: '2'}, file{Name: "bin/id", Link: "bin/su", Type: '1'}, file{Name: ".wh.old"})
	return p
}

func run(t testing.TB, src pipeline.Source, o check.Options) *check.Report {
	t.Helper()
	r, err := check.Run(t.Context(), src, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// of are the results of a check that are no good news.
func of(r *check.Report, id string) (out []check.Result) {
	for _, res := range r.Results {
		if res.Check == id && (res.Severity != check.Info || bad(id) == check.Info) {
			out = append(out, res)
		}
	}
	return out
}

func bad(id string) check.Severity {
	i := slices.IndexFunc(check.Checks, func(c check.Check) bool { return c.ID == id })
	return check.Checks[i].Severity
}

func messages(r *check.Report) string {
	var b strings.Builder
	for _, res := range r.Results {
		fmt.Fprintf(&b, "%s [%s] %s\n", res.Severity, res.Check, res.Message)
	}
	return b.String()
}
