package daemon_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// An image is one that tests build: plain and stored layers, config, manifest.
type image struct {
	layers   []layer
	config   []byte
	manifest []byte
	desc     ocispec.Descriptor // of manifest
}

type layer struct {
	plain, stored []byte
	blob          ocispec.Descriptor
	diffID        digest.Digest
}

// newLayer is a tar of one file; stored plain, or with gzip.
func newLayer(t testing.TB, content string, zipped bool) layer {
	t.Helper()
	l := layer{plain: pack(t, member{name: "etc/" + content, data: []byte(content)})}
	l.stored = l.plain
	l.blob.MediaType = ocispec.MediaTypeImageLayer
	if zipped {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, err := w.Write(l.plain)
		must(t, err)
		must(t, w.Close())
		l.stored, l.blob.MediaType = b.Bytes(), ocispec.MediaTypeImageLayerGzip
	}
	l.diffID = digest.FromBytes(l.plain)
	l.blob.Digest, l.blob.Size = digest.FromBytes(l.stored), int64(len(l.stored))
	return l
}

func newImage(t testing.TB, arch string, layers ...layer) image {
	t.Helper()
	i := image{layers: layers}
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: arch}}
	config.RootFS.Type = "layers"
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, l := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.diffID)
		m.Layers = append(m.Layers, l.blob)
	}
	i.config = encode(t, config)
	m.Config = describe(ocispec.MediaTypeImageConfig, i.config)
	i.manifest = encode(t, m)
	i.desc = describe(ocispec.MediaTypeImageManifest, i.manifest)
	i.desc.Platform = &config.Platform
	return i
}

func (i image) configDigest() digest.Digest { return digest.FromBytes(i.config) }

func (i image) diffIDs() (out []digest.Digest) {
	for _, l := range i.layers {
		out = append(out, l.diffID)
	}
	return out
}

func describe(mediaType string, b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	return b
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A member is an entry of an archive: a file, a link or, with a slash at the
// end of its name, a folder.
type member struct {
	name, link string
	data       []byte
}

func pack(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Mode: 0o644, Size: int64(len(m.data)), Typeflag: tar.TypeReg}
		switch {
		case m.link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, m.link
		case strings.HasSuffix(m.name, "/"):
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		must(t, w.WriteHeader(h))
		_, err := w.Write(m.data)
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

func blob(b []byte) member {
	return member{name: "blobs/sha256/" + digest.FromBytes(b).Encoded(), data: b}
}

type dockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// saved24 is what Docker up to 24 exports: a folder for each layer, a link for
// one that comes again.
func saved24(t testing.TB, i image, tags ...string) []member {
	t.Helper()
	var out []member
	entry := dockerEntry{Config: i.configDigest().Encoded() + ".json", RepoTags: tags}
	first := map[digest.Digest]string{}
	for n, l := range i.layers {
		dir := digest.FromString(fmt.Sprint(l.diffID, n)).Encoded()
		m := member{name: dir + "/layer.tar", data: l.plain}
		if was, ok := first[l.diffID]; ok {
			m = member{name: m.name, link: "../" + was}
		} else {
			first[l.diffID] = m.name
		}
		out = append(out, member{name: dir + "/"}, member{name: dir + "/VERSION", data: []byte("1.0")}, m)
		entry.Layers = append(entry.Layers, m.name)
	}
	return append(out,
		member{name: entry.Config, data: i.config},
		member{name: "manifest.json", data: encode(t, []dockerEntry{entry})},
		member{name: "repositories", data: []byte("{}")})
}

// saved25 is what Docker 25 and later export from a graph driver: folders
// first, plain layers, a manifest made for the occasion.
func saved25(t testing.TB, i image, tags ...string) []member {
	t.Helper()
	plain := i
	plain.layers = nil
	for _, l := range i.layers {
		l.stored = l.plain
		l.blob = describe(ocispec.MediaTypeImageLayer, l.plain)
		plain.layers = append(plain.layers, l)
	}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: describe(ocispec.MediaTypeImageConfig, i.config)}
	for _, l := range plain.layers {
		m.Layers = append(m.Layers, l.blob)
	}
	plain.manifest = encode(t, m)
	plain.desc = describe(ocispec.MediaTypeImageManifest, plain.manifest)
	return savedContainerd(t, plain, tags...)
}

// savedContainerd is what the containerd store exports: blobs as they are,
// sorted by digest, index and manifest.json after them.
func savedContainerd(t testing.TB, i image, tags ...string) []member {
	t.Helper()
	entry := dockerEntry{Config: blob(i.config).name, RepoTags: tags}
	blobs := []member{blob(i.config), blob(i.manifest)}
	for _, l := range i.layers {
		entry.Layers = append(entry.Layers, blob(l.stored).name)
		blobs = append(blobs, blob(l.stored))
	}
	out := layout(t, i.desc, blobs, tags...)
	return append(out, member{name: "manifest.json", data: encode(t, []dockerEntry{entry})})
}

// layout is an OCI layout of one root.
func layout(t testing.TB, root ocispec.Descriptor, blobs []member, tags ...string) []member {
	t.Helper()
	slices.SortFunc(blobs, func(a, b member) int { return strings.Compare(a.name, b.name) })
	blobs = slices.CompactFunc(blobs, func(a, b member) bool { return a.name == b.name })
	root.Platform = nil
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, tag := range tags {
		root.Annotations = map[string]string{"io.containerd.image.name": "docker.io/library/" + tag}
		index.Manifests = append(index.Manifests, root)
	}
	if len(tags) == 0 {
		index.Manifests = append(index.Manifests, root)
	}
	out := append([]member{{name: "blobs/"}, {name: "blobs/sha256/"}}, blobs...)
	return append(out,
		member{name: "index.json", data: encode(t, index)},
		member{name: "oci-layout", data: []byte(`{"imageLayoutVersion":"1.0.0"}`)})
}

// savedPodman is what Podman's compatible API exports: plain layers, and links
// for those who expect Docker's folders.
func savedPodman(t testing.TB, i image, tags ...string) []member {
	t.Helper()
	var out []member
	entry := dockerEntry{Config: i.configDigest().Encoded() + ".json", RepoTags: tags}
	seen := map[digest.Digest]bool{}
	for n, l := range i.layers {
		name := l.diffID.Encoded() + ".tar"
		entry.Layers = append(entry.Layers, name)
		if !seen[l.diffID] {
			out = append(out, member{name: name, data: l.plain})
		}
		seen[l.diffID] = true
		dir := digest.FromString(fmt.Sprint(n)).Encoded()
		out = append(out, member{name: dir + "/layer.tar", link: "../" + name}, member{name: dir + "/VERSION", data: []byte("1.0")})
	}
	return append(out,
		member{name: entry.Config, data: i.config},
		member{name: "repositories", data: []byte("{}")},
		member{name: "manifest.json", data: encode(t, []dockerEntry{entry})})
}

// savedIndex is what the containerd store exports of several platforms.
func savedIndex(t testing.TB, images ...image) (ocispec.Descriptor, []member) {
	t.Helper()
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	var blobs []member
	for _, i := range images {
		index.Manifests = append(index.Manifests, i.desc)
		blobs = append(blobs, blob(i.config), blob(i.manifest))
		for _, l := range i.layers {
			blobs = append(blobs, blob(l.stored))
		}
	}
	raw := encode(t, index)
	root := describe(ocispec.MediaTypeImageIndex, raw)
	return root, layout(t, root, append(blobs, blob(raw)), "app:latest")
}

func decode(t testing.TB, b []byte, v any) {
	t.Helper()
	must(t, json.Unmarshal(b, v))
}

// gunzip returns the plain bytes of a layer.
func gunzip(t testing.TB, b []byte) []byte {
	t.Helper()
	if !bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		return b
	}
	r, err := gzip.NewReader(bytes.NewReader(b))
	must(t, err)
	plain, err := io.ReadAll(r)
	must(t, err)
	return plain
}
