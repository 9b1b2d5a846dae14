package tarball_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	ours "github.com/occystrap/occystrap/pipeline/scheme/tarball"
)

// sink opens a tar:// destination.
func sink(t testing.TB, uri string, cfg ours.Config) pipeline.Sink {
	t.Helper()
	if cfg.TempDir == "" {
		cfg.TempDir = t.TempDir()
	}
	dst, err := pipeline.Schemes{ours.Scheme(cfg)}.Sink(uri)
	if err != nil {
		t.Fatal(err)
	}
	return dst
}

// process runs an archive into another one.
func process(t testing.TB, raw []byte, uri string, cfg ours.Config) (pipeline.Report, error) {
	t.Helper()
	return pipeline.Run(t.Context(), source(t, "tar://-", ours.Config{Stdin: bytes.NewReader(raw)}), nil, sink(t, uri, cfg), pipeline.Options{})
}

// output is a new file's path.
func output(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join(t.TempDir(), name)
}

// members lists an archive's headers, and its small members.
func members(t testing.TB, raw []byte) (headers []*tar.Header, bodies map[string][]byte) {
	t.Helper()
	bodies = map[string][]byte{}
	r := tar.NewReader(bytes.NewReader(raw))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return headers, bodies
		}
		if err != nil {
			t.Fatal(err)
		}
		headers = append(headers, h)
		if bodies[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func names(hs []*tar.Header) (out []string) {
	for _, h := range hs {
		out = append(out, h.Name)
	}
	return out
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestDockerFormatIsThePlainArchiveOfDockerSave(t *testing.T) {
	t.Parallel()
	i := newImage(t, "docker", 3)
	path := output(t, "out.tar")
	raw := i.oci(t, nil, gzipped, ocispec.MediaTypeImageLayerGzip, map[string]string{"io.containerd.image.name": "registry.example:5000/team/app:1"})
	if _, err := process(t, raw, "tar://"+path+"?format=docker", ours.Config{}); err != nil {
		t.Fatal(err)
	}
	out := read(t, path)
	headers, bodies := members(t, out)
	var layers []string
	for _, d := range i.diffIDs {
		layers = append(layers, d.Encoded()+"/layer.tar")
	}
	config := hexOf(i.config) + ".json"
	if d := cmp.Diff(append(slices.Clone(layers), config, "manifest.json"), names(headers)); d != "" {
		t.Errorf("members: %s", d)
	}
	for _, h := range headers {
		if h.Mode != 0o644 || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || h.ModTime.Unix() != 0 || h.Typeflag != tar.TypeReg || h.Format != tar.FormatUSTAR {
			t.Errorf("header of %s: %+v", h.Name, h)
		}
	}
	if len(out)%10240 != 0 {
		t.Errorf("%d bytes are no multiple of 10240", len(out))
	}
	if string(bodies[config]) != string(i.config) {
		t.Error("the config's bytes changed")
	}
	want := `[{"Config":"` + config + `","RepoTags":["registry.example:5000/team/app:1"],"Layers":["` + strings.Join(layers, `","`) + `"]}]`
	if got := string(bodies["manifest.json"]); got != want {
		t.Errorf("manifest.json is\n%s, want\n%s", got, want)
	}
}

func TestAutoFormatKeepsEveryByteOfAnIndex(t *testing.T) {
	t.Parallel()
	raw, top := multiPlatform(t)
	path := output(t, "out.tar")
	if _, err := process(t, raw, "tar://"+path, ours.Config{}); err != nil {
		t.Fatal(err)
	}
	headers, bodies := members(t, read(t, path))
	if headers[0].Name != "oci-layout" || headers[len(headers)-1].Name != "manifest.json" {
		t.Errorf("members: %v", names(headers))
	}
	_, before := members(t, raw)
	for name, body := range before {
		if strings.HasPrefix(name, "blobs/") && !bytes.Equal(body, bodies[name]) {
			t.Errorf("%s is not what it was", name)
		}
	}
	var idx ocispec.Index
	if err := json.Unmarshal(bodies["index.json"], &idx); err != nil {
		t.Fatal(err)
	}
	if len(idx.Manifests) != 1 || idx.Manifests[0].Digest != top || idx.Manifests[0].Annotations["io.containerd.image.name"] != "docker.io/library/app:1" || idx.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != "1" {
		t.Errorf("index.json is %s", bodies["index.json"])
	}
	var saved []savedEntry
	if err := json.Unmarshal(bodies["manifest.json"], &saved); err != nil {
		t.Fatal(err)
	}
	if len(saved) != 1 || !slices.Equal(saved[0].RepoTags, []string{"app:1"}) || len(saved[0].Layers) != 2 {
		t.Errorf("manifest.json is %s", bodies["manifest.json"])
	}
}

// multiPlatform is an archive of an index: two images and an attestation.
func multiPlatform(t *testing.T) (raw []byte, top digest.Digest) {
	t.Helper()
	amd, descAMD := newImage(t, "amd64", 2).blobs(t, gzipped, ocispec.MediaTypeImageLayerGzip)
	arm, descARM := newImage(t, "arm64", 2).blobs(t, gzipped, ocispec.MediaTypeImageLayerGzip)
	proof := image{config: []byte(`{"architecture":"unknown","os":"unknown"}`), layers: [][]byte{[]byte(`{"predicateType":"x"}`)}}
	att, descAtt := proof.blobs(t, plain, "application/vnd.in-toto+json")
	descAMD.Platform = &ocispec.Platform{OS: "linux", Architecture: "amd64"}
	descARM.Platform = &ocispec.Platform{OS: "linux", Architecture: "arm64"}
	descAtt.Platform = &ocispec.Platform{OS: "unknown", Architecture: "unknown"}
	descAtt.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": descAMD.Digest.String()}
	idx := marshal(t, ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{descAMD, descARM, descAtt}})
	top = digest.FromBytes(idx)
	root := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: top, Size: int64(len(idx)), Annotations: map[string]string{"io.containerd.image.name": "docker.io/library/app:1"}}
	es := slices.Concat(amd, arm, att)
	return pack(t, append(es, file("blobs/sha256/"+top.Encoded(), idx), file("index.json", marshal(t, ocispec.Index{Manifests: []ocispec.Descriptor{root}})))...), top
}

func TestRepeatedLayerIsWrittenOnce(t *testing.T) {
	t.Parallel()
	i := image{}
	layer := newImage(t, "twice", 1).layers[0]
	i.add(layer)
	i.add(newImage(t, "x", 1).layers[0])
	i.add(layer)
	i.seal(t)
	for _, format := range []string{"auto", "docker", "oci"} {
		path := output(t, "out.tar")
		raw := i.oci(t, func(es []entry) []entry { return slices.Delete(es, 2, 3) }, plain, ocispec.MediaTypeImageLayer, nil)
		if _, err := process(t, raw, "tar://"+path+"?format="+format, ours.Config{}); err != nil {
			t.Fatal(err)
		}
		headers, _ := members(t, read(t, path))
		all := names(headers)
		slices.Sort(all)
		if len(slices.Compact(slices.Clone(all))) != len(all) {
			t.Errorf("%s: a member stands twice in %v", format, all)
		}
	}
}

func TestDockerFormatRefusesWhatItCannotHold(t *testing.T) {
	t.Parallel()
	raw, _ := multiPlatform(t)
	foreign := newImage(t, "foreign", 1)
	es, _ := foreign.blobs(t, plain, ocispec.MediaTypeImageLayer)
	var m ocispec.Manifest
	if err := json.Unmarshal(es[2].body, &m); err != nil {
		t.Fatal(err)
	}
	m.Layers[0].URLs = []string{"https://example.invalid/layer"}
	body := marshal(t, m)
	es[2] = file("blobs/sha256/"+hexOf(body), body)
	idx := marshal(t, ocispec.Index{Manifests: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(body), Size: int64(len(body))}}})
	for name, raw := range map[string][]byte{"index of platforms": raw, "foreign layer": pack(t, append(es[1:], file("index.json", idx))...)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := output(t, "out.tar")
			all := pipeline.Options{Query: pipeline.Query{Platforms: pipeline.Platforms{All: true}}}
			src := source(t, "tar://-", ours.Config{Stdin: bytes.NewReader(raw)})
			_, err := pipeline.Run(t.Context(), src, nil, sink(t, "tar://"+path+"?format=docker", ours.Config{}), all)
			if err == nil || !strings.Contains(err.Error(), "format=oci") || !strings.Contains(err.Error(), "--platform") {
				t.Errorf("got %v", err)
			}
			if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestDockerFormatTakesOneImageOfAnIndex(t *testing.T) {
	t.Parallel()
	raw, _ := multiPlatform(t)
	path := output(t, "out.tar")
	report, err := process(t, raw, "tar://"+path+"?format=docker", ours.Config{})
	if err != nil {
		t.Fatal(err)
	}
	_, bodies := members(t, read(t, path))
	var saved []struct{ Config string }
	if err := json.Unmarshal(bodies["manifest.json"], &saved); err != nil || len(saved) != 1 {
		t.Fatalf("%d images, %v", len(saved), err)
	}
	want := `"architecture":"` + pipeline.DefaultPlatform().Architecture
	if len(report.Layers) != 2 || !strings.Contains(string(bodies[saved[0].Config]), want) {
		t.Errorf("%d layers of %s", len(report.Layers), bodies[saved[0].Config])
	}
}

func TestZstdLayersAreWarnedAbout(t *testing.T) {
	t.Parallel()
	raw := newImage(t, "zstd", 1).oci(t, nil, zstandard, ocispec.MediaTypeImageLayerZstd, nil)
	for format, want := range map[string]int{"auto": 1, "oci": 0, "docker": 0} {
		warnings := 0
		cfg := ours.Config{Events: func(e pipeline.Event) {
			if e.Kind == pipeline.EventWarning && strings.Contains(e.Message, "23.0") {
				warnings++
			}
		}}
		if _, err := process(t, raw, "tar://"+output(t, "out.tar")+"?format="+format, cfg); err != nil || warnings != want {
			t.Errorf("%s: %d warnings, %v", format, warnings, err)
		}
	}
}

func TestStreamSinkWritesTheNamesItIsTold(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	raw := newImage(t, "names", 1).dockerSave(t, "app:1")
	dst := ours.NewStreamSink(&out, ours.SinkConfig{TempDir: t.TempDir(), Names: func(pipeline.Manifest) []string { return []string{"registry.example/b:2"} }})
	if _, err := pipeline.Run(t.Context(), source(t, "tar://-", ours.Config{Stdin: bytes.NewReader(raw)}), nil, dst, pipeline.Options{}); err != nil {
		t.Fatal(err)
	}
	_, bodies := members(t, out.Bytes())
	if m := string(bodies["manifest.json"]); !strings.Contains(m, `"RepoTags":["registry.example/b:2"]`) {
		t.Errorf("manifest.json is %s", m)
	}
	if m := string(bodies["index.json"]); !strings.Contains(m, `"io.containerd.image.name":"registry.example/b:2"`) {
		t.Errorf("index.json is %s", m)
	}
}
