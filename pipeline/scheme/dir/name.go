package dir

import (
	"fmt"
	"path"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/imagename"
)

// layerName and configName are where the plain layout keeps a layer's tar and a
// config, as the Python tool did.
func layerName(d digest.Digest) string  { return d.Encoded() + "/layer.tar" }
func configName(d digest.Digest) string { return d.Encoded() + ".json" }

// namedDigest is the sha256 digest that a file's name promises, in any of the
// ways in which tools write it: HEX/layer.tar, HEX.json, HEX.tar,
// blobs/sha256/HEX. "" when it promises nothing.
func namedDigest(name string) digest.Digest {
	name = strings.TrimSuffix(name, "/layer.tar")
	base := path.Base(name)
	base = strings.TrimSuffix(strings.TrimSuffix(base, ".json"), ".tar")
	d := digest.Digest("sha256:" + strings.TrimPrefix(base, "sha256:"))
	if d.Validate() != nil {
		return ""
	}
	return d
}

// lastPart is a full name without registry and namespace, as the Python tool
// wrote it into RepoTags.
func lastPart(full string) string { return path.Base(full) }

// pathAndTag is a full name without its registry.
func pathAndTag(full string) string {
	ref, err := reference.ParseNormalizedNamed(full)
	if err != nil {
		return full
	}
	_, tag := imagename.Split(full)
	return reference.Path(ref) + ":" + tag
}

// manifestFile is the name of an image's manifest with unique_names: the rule
// of the Python tool, on the name without its registry.
func manifestFile(full string) string {
	ref, err := reference.ParseNormalizedNamed(full)
	if err != nil {
		return ""
	}
	_, tag := imagename.Split(full)
	return "manifest-" + strings.ReplaceAll(reference.Path(ref), "/", "_") + "-" + tag + ".json"
}

// isManifestFile says whether a file's name is one that images are listed in.
func isManifestFile(name string) bool {
	return name == manifestJSON || strings.HasPrefix(name, "manifest-") && strings.HasSuffix(name, ".json")
}

// validNames spells names in full and leaves out, aloud, what is none.
func validNames(in []string, events pipeline.Events) []string {
	return imagename.Valid(in, func(name string) {
		events.Warn(fmt.Sprintf("the directory calls an image %q, which is not a valid name; left out", name))
	})
}
