package cliplugin_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/rogpeppe/go-internal/testscript"
)

// built is when the files of the test image were made: 2020-02-02.
var built = time.Unix(1580608922, 0)

// filesOf are the layers of the test image. The first is large enough that a
// slow registry does not send it whole.
var filesOf = [][]string{
	{"etc/", "etc/os-release", "usr/", "usr/bin/", "usr/bin/tool"},
	{"app/", "app/main.py", "app/main.pyc", "app/.git/", "app/.git/config"},
}

// image makes the test image for a platform ("linux/arm64/v8").
func image(platform string) (v1.Image, error) { return imageOf(platform, filesOf) }

// imageOf makes an image of some layers.
func imageOf(platform string, layers [][]string) (v1.Image, error) {
	img := empty.Image
	for _, files := range layers {
		content, err := layer(files)
		if err != nil {
			return nil, err
		}
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil })
		if err != nil {
			return nil, err
		}
		if img, err = mutate.AppendLayers(img, l); err != nil {
			return nil, err
		}
	}
	cf, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	cf = cf.DeepCopy()
	p, err := v1.ParsePlatform(platform)
	if err != nil {
		return nil, err
	}
	cf.OS, cf.Architecture, cf.Variant = p.OS, p.Architecture, p.Variant
	return mutate.ConfigFile(img, cf)
}

func layer(files []string) ([]byte, error) {
	var out bytes.Buffer
	tw := tar.NewWriter(&out)
	for i, f := range files {
		h := &tar.Header{Name: f, Mode: 0o644, ModTime: built, Typeflag: tar.TypeReg}
		var content []byte
		if strings.HasSuffix(f, "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		} else {
			// What does not compress, the same in every run.
			content = []byte(strings.Repeat(f, 100))
			for n := range 64 << 10 {
				content = append(content, byte(n*n*(i+7)>>5)^byte(n>>3))
			}
		}
		h.Size = int64(len(content))
		if err := tw.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := tw.Write(content); err != nil {
			return nil, err
		}
	}
	if err := tw.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// mkimage FILE NAME writes the test image as docker save does.
func makeArchive(ts *testscript.TestScript, _ bool, args []string) {
	tag, err := name.NewTag(args[1])
	ts.Check(err)
	img, err := image("linux/amd64")
	ts.Check(err)
	ts.Check(tarball.WriteToFile(ts.MkAbs(args[0]), tag, img))
}

// mkremote NAME puts the test image into a registry.
func makeRemote(ts *testscript.TestScript, _ bool, args []string) {
	img, err := image("linux/amd64")
	ts.Check(err)
	ts.Check(remote.Write(reference(ts, args[0]), img, access()...))
}

// mkbase NAME puts an image of the lowest layer of the test image into a registry.
func makeBase(ts *testscript.TestScript, _ bool, args []string) {
	img, err := imageOf("linux/amd64", filesOf[:1])
	ts.Check(err)
	ts.Check(remote.Write(reference(ts, args[0]), img, access()...))
}

// mkindex NAME PLATFORM… puts an index of test images into a registry.
func makeIndex(ts *testscript.TestScript, _ bool, args []string) {
	index := v1.ImageIndex(empty.Index)
	for _, platform := range args[1:] {
		img, err := image(platform)
		ts.Check(err)
		p, err := v1.ParsePlatform(platform)
		ts.Check(err)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: p}})
	}
	ts.Check(remote.WriteIndex(reference(ts, args[0]), index, access()...))
}

// digest NAME prints the digest of what a registry has under a name, and its
// media type.
func showDigest(ts *testscript.TestScript, neg bool, args []string) {
	d, err := remote.Head(reference(ts, args[0]), access()...)
	if neg {
		if err == nil {
			ts.Fatalf("%s is %s", args[0], d.Digest)
		}
		return
	}
	ts.Check(err)
	_, err = fmt.Fprintln(ts.Stdout(), d.Digest, d.MediaType)
	ts.Check(err)
}

// access has ann's login, which registries that want none do not look at.
func access() []remote.Option {
	return []remote.Option{
		remote.WithAuth(&authn.Basic{Username: username, Password: password}),
		remote.WithTransport(http.DefaultTransport),
	}
}

func reference(ts *testscript.TestScript, s string) name.Reference {
	ref, err := name.ParseReference(s, name.Insecure)
	ts.Check(err)
	return ref
}

// open is an archive, or an image in a registry.
func open(ts *testscript.TestScript, s string) v1.Image {
	var img v1.Image
	var err error
	if _, missing := os.Stat(ts.MkAbs(s)); missing == nil {
		img, err = tarball.ImageFromPath(ts.MkAbs(s), nil)
	} else {
		img, err = remote.Image(reference(ts, s), access()...)
	}
	ts.Check(err)
	return img
}

// entries FILE|NAME prints "LAYER NAME SECONDS" for each entry of an image, and
// the layer's media type after its last entry.
func listEntries(ts *testscript.TestScript, _ bool, args []string) {
	layers, err := open(ts, args[0]).Layers()
	ts.Check(err)
	for i, l := range layers {
		rc, err := l.Uncompressed()
		ts.Check(err)
		for tr := tar.NewReader(rc); ; {
			h, err := tr.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			ts.Check(err)
			_, err = fmt.Fprintln(ts.Stdout(), i, h.Name, h.ModTime.Unix())
			ts.Check(err)
		}
		ts.Check(rc.Close())
		mt, err := l.MediaType()
		ts.Check(err)
		_, err = fmt.Fprintln(ts.Stdout(), i, mt)
		ts.Check(err)
	}
}

// config FILE|NAME prints "OS/ARCHITECTURE[/VARIANT]" of an image, and checks
// that its diff IDs are true.
func showConfig(ts *testscript.TestScript, _ bool, args []string) {
	img := open(ts, args[0])
	cf, err := img.ConfigFile()
	ts.Check(err)
	layers, err := img.Layers()
	ts.Check(err)
	var have []v1.Hash
	for _, l := range layers {
		rc, err := l.Uncompressed()
		ts.Check(err)
		h, _, err := v1.SHA256(rc)
		ts.Check(err)
		ts.Check(rc.Close())
		have = append(have, h)
	}
	if !slices.Equal(have, cf.RootFS.DiffIDs) {
		ts.Fatalf("diff IDs are %v, the config says %v", have, cf.RootFS.DiffIDs)
	}
	_, err = fmt.Fprintln(ts.Stdout(), strings.TrimSuffix(strings.Join([]string{cf.OS, cf.Architecture, cf.Variant}, "/"), "/"))
	ts.Check(err)
}
