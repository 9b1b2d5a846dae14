package cliplugin_test

import (
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/rogpeppe/go-internal/testscript"
)

const sbomType = "application/spdx+json"

// mksigned NAME puts the test image into a registry, with an SBOM that refers to
// it and a signature under cosign's tag.
func makeSigned(ts *testscript.TestScript, _ bool, args []string) {
	makeRemote(ts, false, args)
	ref := reference(ts, args[0])
	desc, err := remote.Head(ref, access()...)
	ts.Check(err)
	sbom := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), sbomType)
	sbom, err = mutate.AppendLayers(sbom, static.NewLayer([]byte(`{"spdxVersion":"SPDX-2.3"}`), sbomType))
	ts.Check(err)
	sbom, ok := mutate.Subject(sbom, *desc).(v1.Image)
	if !ok {
		ts.Fatalf("an image with a subject is no image")
	}
	d, err := partial.Descriptor(sbom)
	ts.Check(err)
	ts.Check(remote.Write(ref.Context().Digest(d.Digest.String()), sbom, access()...))
	payload := `{"critical":{"image":{"docker-manifest-digest":"` + desc.Digest.String() + `"}}}`
	sig, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1),
		static.NewLayer([]byte(payload), "application/vnd.dev.cosign.simplesigning.v1+json"))
	ts.Check(err)
	ts.Check(remote.Write(ref.Context().Tag(cosignTag(desc.Digest)), sig, access()...))
}

func cosignTag(d v1.Hash) string { return d.Algorithm + "-" + d.Hex + ".sig" }

// referrers NAME prints the types of what refers to the image of a name, with
// the version of occystrap that they tell of, and whether it is signed. With !
// there is nothing of the sort.
func showReferrers(ts *testscript.TestScript, neg bool, args []string) {
	ref := reference(ts, args[0])
	desc, err := remote.Head(ref, access()...)
	ts.Check(err)
	idx, err := remote.Referrers(ref.Context().Digest(desc.Digest.String()), access()...)
	ts.Check(err)
	m, err := idx.IndexManifest()
	ts.Check(err)
	var lines []string
	for _, e := range m.Manifests {
		lines = append(lines, fmt.Sprintln(e.ArtifactType, e.Annotations["io.github.occystrap.recipe"]))
	}
	if signed(ref, desc.Digest) == nil {
		lines = append(lines, "signed\n")
	}
	if neg && len(lines) > 0 {
		ts.Fatalf("%s has %q", args[0], lines)
	}
	for _, l := range lines {
		_, err := ts.Stdout().Write([]byte(l))
		ts.Check(err)
	}
}

func signed(ref name.Reference, d v1.Hash) error {
	img, err := remote.Image(ref.Context().Tag(cosignTag(d)), access()...)
	if err != nil {
		return err
	}
	layers, err := img.Layers()
	if err == nil && len(layers) != 1 {
		err = errors.New("there is no payload")
	}
	return err
}
