package cliplugin_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/rogpeppe/go-internal/testscript"
)

// oddLayers have every type of entry, names that are hard to print, and a second
// layer that deletes and replaces.
var oddLayers = [][]tar.Header{
	{
		{Name: "odd/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "odd/file", Linkname: "one\nneedle in the hay\n"},
		{Name: "odd/gone", Linkname: "x"},
		{Name: "odd/symlink", Typeflag: tar.TypeSymlink, Linkname: "../etc/passwd"},
		{Name: "odd/hardlink", Typeflag: tar.TypeLink, Linkname: "odd/file"},
		{Name: "odd/fifo", Typeflag: tar.TypeFifo},
		{Name: "odd/char", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3},
		{Name: "odd/block", Typeflag: tar.TypeBlock, Devmajor: 8},
		{Name: "odd/strange", Typeflag: 'Z'},
		{Name: "odd/a:b", Linkname: "x"},
		{Name: "odd/new\nline", Linkname: "x"},
		{Name: "odd/\"quoted\"", Linkname: "x"},
		{Name: "odd/latin-\xe9", Linkname: "x", Format: tar.FormatGNU},
		{Name: "odd/binary", Linkname: "\x7fELF\x00needle"},
	},
	{
		{Name: "odd/.wh.gone"},
		{Name: "odd/file", Linkname: "new"},
	},
}

// mkodd FILE NAME writes an image of oddLayers. A file's content is in Linkname.
func makeOdd(ts *testscript.TestScript, _ bool, args []string) {
	tag, err := name.NewTag(args[1])
	ts.Check(err)
	img := empty.Image
	for _, headers := range oddLayers {
		// Plain, so that digests do not depend on a compressor.
		img, err = mutate.AppendLayers(img, static.NewLayer(oddLayer(ts, headers), types.DockerUncompressedLayer))
		ts.Check(err)
	}
	ts.Check(tarball.WriteToFile(ts.MkAbs(args[0]), tag, img))
}

func oddLayer(ts *testscript.TestScript, headers []tar.Header) []byte {
	var out bytes.Buffer
	tw := tar.NewWriter(&out)
	for _, h := range headers {
		h.ModTime = built
		content := ""
		if h.Typeflag == 0 {
			content, h.Linkname = h.Linkname, ""
		}
		h.Size = int64(len(content))
		ts.Check(tw.WriteHeader(&h))
		_, err := io.WriteString(tw, content)
		ts.Check(err)
	}
	ts.Check(tw.Close())
	return out.Bytes()
}

// loaded NAME SOCKET starts a daemon that has the test image under a name, and
// takes it a second time.
func startLoaded(ts *testscript.TestScript, _ bool, args []string) {
	tag, err := name.NewTag(args[0])
	ts.Check(err)
	img, err := image("linux/amd64")
	ts.Check(err)
	var export bytes.Buffer
	ts.Check(tarball.Write(tag, img, &export))
	id, err := img.ConfigName()
	ts.Check(err)
	cf, err := img.ConfigFile()
	ts.Check(err)
	var layers []string
	for _, d := range cf.RootFS.DiffIDs {
		layers = append(layers, d.String())
	}
	found := map[string]any{"Id": id.String(), "RepoTags": []string{args[0]}, "RootFS": map[string]any{"Type": "layers", "Layers": layers}}
	l, err := net.Listen("unix", filepath.Clean(ts.MkAbs(args[1])))
	ts.Check(err)
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: worldOf(ts).recorded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/tag"):
			w.WriteHeader(http.StatusCreated)
		case strings.HasSuffix(r.URL.Path, "/images/"+args[0]+"/json"), strings.HasSuffix(r.URL.Path, "/images/"+id.String()+"/json"):
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(found)
		case strings.HasSuffix(r.URL.Path, "/history"):
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `[{"CreatedBy":"CMD [\"sh\"]","Size":0},{"CreatedBy":"COPY app /","Size":5},{"CreatedBy":"ADD rootfs /","Size":9}]`)
		case strings.HasSuffix(r.URL.Path, "/images/load"):
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"stream":"Loaded image: new:1\n"}`)
		case strings.HasSuffix(r.URL.Path, "/images/get"):
			_, _ = w.Write(export.Bytes())
		default:
			noImages(w, r)
		}
	}))}}
	s.Start()
	ts.Defer(s.Close)
}
