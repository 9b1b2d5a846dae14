// Package ocilayout knows the names in OCI image layouts, packed as an archive or
// not, and how their index names images. Files and lists are for its users.
package ocilayout

import (
	"fmt"
	"maps"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// AnnotationImageName is where containerd and Docker keep an image's full name
// (containerd, core/images/annotations.go).
const AnnotationImageName = "io.containerd.image.name"

// maxNameLen is PATH_MAX of Linux; tools that unpack could not use longer ones.
const maxNameLen = 4096

// Within is a name that stands in a place ("archive", "directory"), cleaned. One
// that would lead out of it is an error.
func Within(place, name string) (string, error) {
	if len(name) > maxNameLen {
		return "", fmt.Errorf("a name of %d bytes is too long; the %s is damaged or hostile", len(name), place)
	}
	clean := path.Clean(name)
	if name == "" || path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") {
		return "", fmt.Errorf("the name %q leads out of the %s, which is damaged or hostile", name, place)
	}
	return clean, nil
}

// Blob is where a layout keeps a blob (image-layout.md, "Blobs").
func Blob(d digest.Digest) string {
	return "blobs/" + d.Algorithm().String() + "/" + d.Encoded()
}

// Entries are what index.json says of an image: an entry for each full name, in
// the annotations that containerd and Docker read. refName is the reference name
// that goes with one.
func Entries(desc ocispec.Descriptor, names []string, refName func(full string) string) []ocispec.Descriptor {
	entry := ocispec.Descriptor{
		MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size,
		Platform: desc.Platform, ArtifactType: desc.ArtifactType, Annotations: maps.Clone(desc.Annotations),
	}
	delete(entry.Annotations, AnnotationImageName)
	delete(entry.Annotations, ocispec.AnnotationRefName)
	if len(names) == 0 {
		return []ocispec.Descriptor{entry}
	}
	var out []ocispec.Descriptor
	for _, name := range names {
		e := entry
		if e.Annotations = maps.Clone(entry.Annotations); e.Annotations == nil {
			e.Annotations = map[string]string{}
		}
		e.Annotations[AnnotationImageName] = name
		e.Annotations[ocispec.AnnotationRefName] = refName(name)
		out = append(out, e)
	}
	return out
}

// Names reads the names of an entry of index.json: what may be its full name, and
// its reference name. That may be a full name (podman, skopeo) or only a tag,
// which names nothing by itself; then name is "".
func Names(desc ocispec.Descriptor) (name, ref string) {
	name, ref = desc.Annotations[AnnotationImageName], desc.Annotations[ocispec.AnnotationRefName]
	if name == "" && strings.ContainsAny(ref, "/:") {
		name = ref
	}
	return name, ref
}
