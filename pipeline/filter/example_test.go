package filter_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// exampleLayer is a layer of two names of one file.
func exampleLayer() []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	built := time.Unix(1_700_000_000, 0)
	_ = w.WriteHeader(&tar.Header{Name: "bin/tool", Size: 3, ModTime: built})
	_, _ = io.WriteString(w, "elf")
	_ = w.WriteHeader(&tar.Header{Name: "bin/alias", Typeflag: tar.TypeLink, Linkname: "bin/tool", ModTime: built})
	_ = w.Close()
	return b.Bytes()
}

// show sends the example layer through a filter, as the engine does, and prints
// what comes out.
func show(spec string) {
	f, err := filter.Kinds(filter.Defaults{}).New(spec)
	if err != nil {
		fmt.Println(err)
		return
	}
	layer := exampleLayer()
	info := pipeline.LayerInfo{
		Plain: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer)), nil },
		Note:  func(s string) { fmt.Println("note:", s) },
	}
	var out bytes.Buffer
	h, err := f.(pipeline.LayerFilter).Layer(context.Background(), info, tarstream.NewWriter(&out))
	if err == nil {
		err = tarstream.Read(bytes.NewReader(layer), 0, h)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	for r := tar.NewReader(&out); ; {
		h, err := r.Next()
		if err != nil {
			return
		}
		fmt.Printf("%c %s %d bytes %s\n", h.Typeflag, h.Name, h.Size, h.ModTime.UTC().Format(time.RFC3339))
	}
}

// All files get one time, so that the same content always makes the same layer.
func ExampleKinds_normalizeTimestamps() {
	show("normalize-timestamps:ts=1234567890")
	// Output:
	// 0 bin/tool 3 bytes 2009-02-13T23:31:30Z
	// 1 bin/alias 0 bytes 2009-02-13T23:31:30Z
}

// The layers of the base image stay what they are; this image has no others.
func ExampleKinds_normalizeTimestampsAboveTheBase() {
	f, err := filter.Kinds(filter.Defaults{
		Images: func(ctx context.Context, _ string, q pipeline.Query) ([]pipeline.Manifest, error) {
			return pipeline.ReadManifests(ctx, exampleImage(), q)
		},
	}).New("normalize-timestamps:base=alpine:3.20")
	if err != nil {
		fmt.Println(err)
		return
	}
	report, err := pipeline.Run(context.Background(), exampleImage(), []pipeline.Filter{f}, pipelinetest.NewSink(), pipeline.Options{})
	fmt.Println(report.Layers[0].How, report.Layers[0].Notes, err)
	// Output:
	// copied [stays, since it belongs to the base image: alpine:3.20] <nil>
}

// A file goes; the hard link to it keeps the content.
func ExampleKinds_exclude() {
	show("exclude:pattern=**/tool,**/*.pyc")
	// Output:
	// note: 1 entry excluded
	// 0 bin/alias 3 bytes 2023-11-14T22:13:20Z
}

// What an image says of how it runs is set, and the rest of its config stays as
// it is written.
func ExampleKinds_config() {
	f, err := filter.Kinds(filter.Defaults{}).New(`config:user=app,unset-env=*TOKEN*,cmd=["/app","-v"]`)
	if err != nil {
		fmt.Println(err)
		return
	}
	was := `{"os": "linux", "config": {"Env": ["PATH=/bin","GH_TOKEN=x"], "User": ""}}`
	is, err := f.(pipeline.ConfigFilter).Config(context.Background(), ocispec.Descriptor{}, []byte(was))
	fmt.Println(string(is), err)
	// Output:
	// {"os": "linux", "config": {"Env":["PATH=/bin"],"User":"app","Cmd":["/app","-v"]}} <nil>
}

// One image of an index comes along.
func ExampleKinds_platforms() {
	f, err := filter.Kinds(filter.Defaults{}).New("platforms:only=linux/arm64")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = pipeline.Run(context.Background(), exampleImage(), []pipeline.Filter{f}, pipelinetest.NewSink(), pipeline.Options{})
	fmt.Println(f.Recipe().Key, err)
	// Output:
	// platforms:only=linux/arm64 <nil>
}

// All attestations stay behind.
func ExampleKinds_attestations() {
	f, err := filter.Kinds(filter.Defaults{}).New("attestations:mode=none")
	fmt.Println(f.Recipe().Key, err)
	// Output:
	// attestations:mode=none <nil>
}

// Layers that are stored plain are stored with zstd.
func ExampleKinds_recompress() {
	f, err := filter.Kinds(filter.Defaults{}).New("recompress:zstd,level=9")
	if err != nil {
		fmt.Println(err)
		return
	}
	report, err := pipeline.Run(context.Background(), exampleImage(), []pipeline.Filter{f}, pipelinetest.NewSink(), pipeline.Options{})
	fmt.Println(report.Layers[0].How, err)
	// Output:
	// recoded <nil>
}

// The layers of an image become one; an image that has one already stays as it is.
func ExampleKinds_flatten() {
	f, err := filter.Kinds(filter.Defaults{}).New("flatten")
	if err != nil {
		fmt.Println(err)
		return
	}
	report, err := pipeline.Run(context.Background(), exampleImage(), []pipeline.Filter{f}, pipelinetest.NewSink(), pipeline.Options{})
	fmt.Println(len(report.Layers), report.Layers[0].How, err)
	// Output:
	// 1 copied <nil>
}

// What must not be in an image fails the run.
func ExampleKinds_deny() {
	show("deny:pattern=**/tool,max-size=1g")
	// Output:
	// deny refuses the layer: bin/tool matches pattern=**/tool
}

// Each image becomes a line; what there is to know costs no content.
func ExampleKinds_inspect() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "layers.jsonl")
	inspect, err := filter.Kinds(filter.Defaults{}).New("inspect:file=" + file)
	if err == nil {
		_, err = pipeline.Run(context.Background(), exampleImage(), []pipeline.Filter{inspect}, pipelinetest.NewSink(), pipeline.Options{})
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	line, err := os.ReadFile(file)
	fmt.Println(string(line), err)
	// Output:
	// {"layers": [{"Comment": "", "Created": 0, "CreatedBy": "", "Id": "sha256:46072ea1a77d19734d5f5b33ddcdb98838b2123428cb5fe71071a94e985359a9", "Size": 2560, "Tags": ["example.com/app:1"]}], "name": "example.com/app:1"}
	//  <nil>
}

// A search tells what it finds to whoever shows it.
type printed struct{}

func (printed) Layer(l filter.SearchedLayer) error {
	for _, m := range l.Matches {
		fmt.Println(l.Index, m.Path, m.Type)
	}
	return nil
}

func (printed) End(s filter.SearchSummary) error {
	fmt.Println(s.Matches, "found")
	return nil
}

func ExampleNewSearch() {
	search, err := filter.NewSearch(filter.SearchOptions{Pattern: "bin/*"}, printed{})
	if err == nil {
		err = pipeline.Look(context.Background(), exampleImage(), []pipeline.Filter{search}, pipeline.Options{})
	}
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// 0 bin/tool file
	// 0 bin/alias hardlink
	// 2 found
}

// exampleImage is an image of the example layer.
func exampleImage() pipeline.Source {
	store := pipelinetest.NewStore()
	layer := store.Put(ocispec.MediaTypeImageLayer, exampleLayer())
	config := store.Put(ocispec.MediaTypeImageConfig, []byte(`{"rootfs":{"type":"layers","diff_ids":["`+layer.Digest+`"]}}`))
	manifest := store.Put(ocispec.MediaTypeImageManifest, fmt.Appendf(nil,
		`{"schemaVersion":2,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
		config.MediaType, config.Digest, config.Size, layer.MediaType, layer.Digest, layer.Size))
	return store.Source(manifest, "example.com/app:1")
}
