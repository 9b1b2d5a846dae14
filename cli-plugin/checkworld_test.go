package cliplugin_test

import (
	"archive/tar"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/rogpeppe/go-internal/testscript"
)

// badLayers have what check calls errors and warnings, with names that a
// terminal must not see.
var badLayers = [][]tar.Header{
	{
		{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "etc/.wh."},
		{Name: "etc/a\x1b[31m", Linkname: "content", Mode: 0o4777},
		{Name: "etc/link", Typeflag: tar.TypeLink, Linkname: "etc/nothing"},
	},
	{
		{Name: "etc/a\x1b[31m", Linkname: "new"},
		{Name: "etc/up", Typeflag: tar.TypeSymlink, Linkname: "../../../x"},
	},
}

// mkbad FILE NAME writes an image of badLayers, and with a secret in its
// history.
func makeBad(ts *testscript.TestScript, _ bool, args []string) {
	tag, err := name.NewTag(args[1])
	ts.Check(err)
	img := empty.Image
	for _, headers := range badLayers {
		// Plain, so that digests do not depend on a compressor.
		img, err = mutate.Append(img, mutate.Addendum{
			Layer:   static.NewLayer(oddLayer(ts, headers), types.DockerUncompressedLayer),
			History: v1.History{CreatedBy: "ENV DB_PASSWORD=hunter2"},
		})
		ts.Check(err)
	}
	ts.Check(tarball.WriteToFile(ts.MkAbs(args[0]), tag, img))
}
