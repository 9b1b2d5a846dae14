package filter_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// then is a time that no filter is asked to set.
var then = time.Unix(1_600_000_000, 0)

// member is one entry of a tar that a test builds.
type member struct {
	tar.Header
	content string
}

func file(name, content string) member {
	return member{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, ModTime: then}, content}
}

func dir(name string) member {
	return member{tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: then}, ""}
}

func link(name, target string) member {
	return member{tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644, ModTime: then}, ""}
}

// tarOf builds a tar.
func tarOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := m.Header
		h.Size = int64(len(m.content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// outcome is what filters made of a layer.
type outcome struct {
	tar   []byte
	notes []string
}

// apply sends a layer, over the layers below it (lowest first), through the
// filters that the specifications describe.
func apply(t testing.TB, below [][]byte, layer []byte, specs ...string) outcome {
	t.Helper()
	temp := t.TempDir()
	var fs []pipeline.LayerFilter
	for _, s := range specs {
		fs = append(fs, newFilter(t, filter.Defaults{TempDir: temp}, s).(pipeline.LayerFilter))
	}
	out := applyFilters(t, below, layer, fs...)
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("temporary files left behind: %v (%v)", left, err)
	}
	return out
}

func newFilter(t testing.TB, d filter.Defaults, spec string) pipeline.Filter {
	t.Helper()
	f, err := filter.Kinds(d).New(spec)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// applyFilters does what the engine does: it asks whether anything changes and
// writes the result, or edits it in place. All must agree.
func applyFilters(t testing.TB, below [][]byte, layer []byte, fs ...pipeline.LayerFilter) outcome {
	t.Helper()
	var out outcome
	l := layerInfo(below, layer)
	l.Note = func(s string) { out.notes = append(out.notes, s) }
	var b bytes.Buffer
	w := tarstream.NewWriter(&b)
	if err := tarstream.Read(bytes.NewReader(layer), 0, chain(t, l, w, fs)); err != nil {
		t.Fatal(err)
	}
	out.tar = b.Bytes()
	changed := !bytes.Equal(out.tar, layer)
	if w.Changed() != changed {
		t.Errorf("the writer says changed=%t, the bytes say %t", w.Changed(), changed)
	}
	l.Note = func(string) {}
	err := tarstream.Read(bytes.NewReader(layer), 0, chain(t, l, &tarstream.Detector{}, fs))
	if changed != errors.Is(err, tarstream.ErrChanged) || !changed && err != nil {
		t.Errorf("the bytes say changed=%t, the detector %v", changed, err)
	}
	wantEdited(t, l, layer, fs, out.tar)
	return out
}

func chain(t testing.TB, l pipeline.LayerInfo, h tarstream.Handler, fs []pipeline.LayerFilter) tarstream.Handler {
	t.Helper()
	for _, f := range slices.Backward(fs) {
		var err error
		if h, err = f.Layer(t.Context(), l, h); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func layerInfo(below [][]byte, layer []byte) pipeline.LayerInfo {
	plain := map[digest.Digest][]byte{}
	var l pipeline.LayerInfo
	for _, b := range below {
		d := digest.FromBytes(b)
		plain[d] = b
		l.Parents = append(l.Parents, pipeline.Layer{Blob: ocispec.Descriptor{Digest: d}})
	}
	l.Blob.Digest = digest.FromBytes(layer)
	l.Plain = func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(layer)), nil
	}
	l.PlainOf = func(_ context.Context, p pipeline.Layer) (io.ReadCloser, error) {
		b, ok := plain[p.Blob.Digest]
		if !ok {
			return nil, fmt.Errorf("no layer %s", p.Blob.Digest)
		}
		return io.NopCloser(bytes.NewReader(b)), nil
	}
	return l
}

// list reads a tar the way an extractor does: "name=content", "name -> target"
// for hard links, "name" for all else.
func list(t testing.TB, b []byte) []string {
	t.Helper()
	out := []string{}
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		switch h.Typeflag {
		case tar.TypeReg:
			out = append(out, h.Name+"="+string(content))
		case tar.TypeLink:
			out = append(out, h.Name+" -> "+h.Linkname)
		default:
			out = append(out, strings.TrimSuffix(h.Name, "/"))
		}
	}
}

// wantList fails unless the tar holds what want says.
func wantList(t testing.TB, b []byte, want ...string) {
	t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), list(t, b)); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func wantNotes(t testing.TB, got outcome, want ...string) {
	t.Helper()
	if diff := cmp.Diff(append([]string(nil), want...), got.notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}
