package filter_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
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

// A file goes; the hard link to it keeps the content.
func ExampleKinds_exclude() {
	show("exclude:pattern=**/tool,**/*.pyc")
	// Output:
	// note: 1 entry excluded
	// 0 bin/alias 3 bytes 2023-11-14T22:13:20Z
}
