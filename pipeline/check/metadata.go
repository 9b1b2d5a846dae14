package check

import (
	"strings"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// largeLayer is what large-layer warns of.
const largeLayer = 1 << 30

// judge checks a manifest and its config.
func (i *image) judge(t *teller, o Options) {
	if !i.bare {
		i.judgeManifest(t)
		i.judgeTypes(t)
	}
	if i.config != nil {
		i.judgeConfig(t)
		judgeSecrets(t, i.config)
	}
	for n, l := range i.manifest.Layers {
		if l.Size > largeLayer {
			t.bad("large-layer", "%s has %s compressed, more than 1 GiB", layerName(n, l.Digest), count(int(l.Size), "byte"))
		}
	}
	if o.MaxSize > 0 && !i.bare {
		t.verdict(i.Size <= o.MaxSize, "max-size", "the image has %s as stored; the limit is %d", count(int(i.Size), "byte"), o.MaxSize)
	}
}

// judgeManifest checks what stands in the manifest.
func (i *image) judgeManifest(t *teller) {
	m := &i.manifest
	t.verdict(m.SchemaVersion == 2, "schema-version", "schemaVersion is %d", m.SchemaVersion)
	if !i.fails("manifest-digest") {
		t.good("manifest-digest", "the manifest is %s", i.Manifest.Digest)
	}
	if i.fails("config-descriptor", "missing-blob") {
		return
	}
	t.good("config-descriptor", "the config is %s", quote(m.Config.Digest.String()))
	if !i.fails("config-digest") {
		t.good("config-digest", "the config has its digest")
	}
	if !i.fails("config-size") {
		t.good("config-size", "the config has its %s", count(int(m.Config.Size), "byte"))
	}
}

// judgeTypes checks the media types of manifest, config and layers.
func (i *image) judgeTypes(t *teller) {
	mediaType := i.Manifest.MediaType
	docker := isDocker(mediaType)
	if docker {
		t.bad("docker-media-type", "the manifest is one of Docker's: %s", quote(mediaType))
	} else {
		t.bad("oci-media-type", "the manifest is an OCI one: %s", quote(mediaType))
	}
	var others []string
	for _, d := range append([]ocispec.Descriptor{i.manifest.Config}, i.manifest.Layers...) {
		if isDocker(d.MediaType) != docker {
			others = append(others, d.MediaType)
		}
	}
	if len(others) > 0 {
		t.bad("mixed-media-types", "%s of another family than the manifest, as %s", count(len(others), "blob is", "blobs are"), quote(others[0]))
	}
	zstd := 0
	for _, l := range i.manifest.Layers {
		if pipeline.LayerCompression(l.MediaType) == pipeline.Zstd {
			zstd++
		}
	}
	if zstd > 0 {
		t.bad("zstd-compat", "%s compressed with zstd, which Docker reads since 23.0", count(zstd, "layer is", "layers are"))
	}
}

func isDocker(mediaType string) bool { return strings.HasPrefix(mediaType, "application/vnd.docker.") }

// judgeConfig checks what stands in the config.
func (i *image) judgeConfig(t *teller) {
	c, layers := i.config, len(i.manifest.Layers)
	t.verdict(c.RootFS.Type == "layers", "rootfs-type", "rootfs.type is %s", quote(c.RootFS.Type))
	if i.bare {
		layers = len(c.RootFS.DiffIDs)
	} else if have := len(c.RootFS.DiffIDs); have == layers {
		t.good("layer-count", "%s and %s", count(layers, "layer"), count(have, "diff ID"))
	}
	switch used := c.used(); {
	case len(c.History) == 0:
		t.good("history-count", "there is no history")
	default:
		t.verdict(used == layers, "history-count", "the history has %s for %s", count(used, "entry", "entries"), count(layers, "layer"))
	}
	if c.Config.ArgsEscaped {
		t.bad("args-escaped", "the config has ArgsEscaped, which is for Windows and deprecated")
	}
	if p := i.platform; p != nil && c.OS != "" {
		same := p.OS == c.OS && p.Architecture == c.Architecture
		t.verdict(same, "platform", "the index lists it for %s, the config says %s", quote(platforms.FormatAll(*p)), quote(platforms.FormatAll(c.Platform)))
	}
}

// judge checks an index.
func (x *index) judge(t *teller) {
	t.verdict(x.index.SchemaVersion == 2, "schema-version", "schemaVersion of index %s is %d", x.desc.Digest, x.index.SchemaVersion)
	listed, seen := map[string]bool{}, map[string]bool{}
	for _, e := range x.index.Manifests {
		listed[e.Digest.String()] = true
	}
	for _, e := range x.index.Manifests {
		of, isAttestation := pipeline.AttestationOf(e)
		switch {
		case isAttestation && !listed[of.String()]:
			t.bad("index-entry", "attestation %s is of %s, which the index does not list", quote(e.Digest.String()), quote(of.String()))
		case isAttestation, e.Platform == nil, e.ArtifactType != "":
		default:
			p := platforms.FormatAll(platforms.Normalize(*e.Platform))
			if seen[p] {
				t.bad("index-entry", "the index lists two images for %s", quote(p))
			}
			seen[p] = true
		}
	}
}
