package dir

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
)

// maxNameLen is PATH_MAX of Linux.
const maxNameLen = 4096

// fileName is a name that a manifest mentions, as a path in the directory. One
// that would lead out is refused; os.Root would refuse it too, later.
func fileName(name string) (string, error) {
	if len(name) > maxNameLen {
		return "", fmt.Errorf("a name of %d bytes is too long; the directory is damaged or hostile", len(name))
	}
	clean := path.Clean(name)
	if name == "" || path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") {
		return "", fmt.Errorf("the name %q leads out of the directory, which is damaged or hostile", name)
	}
	return clean, nil
}

// blobName is where an OCI layout keeps a blob (image-layout.md, "Blobs").
func blobName(d digest.Digest) string {
	return "blobs/" + d.Algorithm().String() + "/" + d.Encoded()
}

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

// fullName spells an image's name in full, "docker.io/library/busybox:latest";
// "" when it is not a name with a tag that any tool would take.
func fullName(name string) string {
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return ""
	}
	tag, ok := reference.TagNameOnly(ref).(reference.Tagged)
	if !ok {
		return ""
	}
	tagged, err := reference.WithTag(reference.TrimNamed(ref), tag.Tag())
	if err != nil {
		return ""
	}
	return tagged.String()
}

// fullNames spells names in full and leaves out what is none.
func fullNames(in []string) (out []string) {
	for _, n := range in {
		if full := fullName(n); full != "" {
			out = appendNew(out, full)
		}
	}
	return out
}

// familiar takes a full name apart as Docker shows it: "busybox" and "latest".
func familiar(full string) (name, tag string) {
	ref, err := reference.ParseNormalizedNamed(full)
	if err != nil {
		return full, ""
	}
	if t, ok := ref.(reference.Tagged); ok {
		tag = t.Tag()
	}
	return reference.FamiliarName(ref), tag
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
	_, tag := familiar(full)
	return reference.Path(ref) + ":" + tag
}

// manifestFile is the name of an image's manifest with unique_names: the rule
// of the Python tool, on the name without its registry.
func manifestFile(full string) string {
	ref, err := reference.ParseNormalizedNamed(full)
	if err != nil {
		return ""
	}
	_, tag := familiar(full)
	return "manifest-" + strings.ReplaceAll(reference.Path(ref), "/", "_") + "-" + tag + ".json"
}

// isManifestFile says whether a file's name is one that images are listed in.
func isManifestFile(name string) bool {
	return name == manifestJSON || strings.HasPrefix(name, "manifest-") && strings.HasSuffix(name, ".json")
}

// appendTag appends a tag, where there is one.
func appendTag(tags []string, tag string) []string {
	if tag == "" {
		return tags
	}
	return appendNew(tags, tag)
}

// appendNew appends what is not there yet.
func appendNew(names []string, more ...string) []string {
	for _, n := range more {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// validNames spells names in full and leaves out, aloud, what is none.
func validNames(in []string, events pipeline.Events) (out []string) {
	for _, n := range in {
		if full := fullName(n); full != "" {
			out = appendNew(out, full)
		} else if n != "" && !strings.Contains(n, "@") {
			events.Warn(fmt.Sprintf("the directory calls an image %q, which is not a valid name; left out", n))
		}
	}
	return out
}
