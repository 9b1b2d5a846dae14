package tarball

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// maxNameLen is PATH_MAX of Linux; tools that unpack could not use longer ones.
const maxNameLen = 4096

// memberName turns the name of a member, or one that a manifest mentions, into
// the key under which the archive knows it. Names are never used as paths; one
// that would lead out of the tree is refused all the same.
func memberName(name string) (string, error) {
	if len(name) > maxNameLen {
		return "", fmt.Errorf("a name of %d bytes is too long; the archive is damaged or hostile", len(name))
	}
	clean := path.Clean(name)
	if name == "" || path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") {
		return "", fmt.Errorf("the name %q leads out of the archive, which is damaged or hostile", name)
	}
	return clean, nil
}

// linkTarget is the member that a link points at. A hard link's target is
// seen from the root of the archive (POSIX pax, linkname), a symbolic link's
// from where it stands.
func linkTarget(name, target string, symbolic bool) (string, error) {
	full := target
	if symbolic && !path.IsAbs(target) {
		full = path.Dir(name) + "/" + target
	}
	key, err := memberName(full)
	if err != nil || target == "" {
		return "", fmt.Errorf("the link %q points out of the archive, to %q", name, target)
	}
	return key, nil
}

// blobName is where an OCI layout keeps a blob (image-layout.md, "Blobs").
func blobName(d digest.Digest) string {
	return "blobs/" + d.Algorithm().String() + "/" + d.Encoded()
}

// blobDigest is the inverse of blobName; "" for any other name.
func blobDigest(name string) digest.Digest {
	rest, ok := strings.CutPrefix(name, "blobs/")
	if !ok {
		return ""
	}
	d := digest.Digest(strings.Replace(rest, "/", ":", 1))
	if d.Validate() != nil {
		return ""
	}
	return d
}

// configDigest is the digest that a config's name promises, in any of the ways
// in which tools write it: HEX.json, HEX, sha256:HEX, blobs/sha256/HEX. "" when
// the name promises nothing.
func configDigest(name string) digest.Digest {
	if d := blobDigest(name); d != "" {
		return d
	}
	base := strings.TrimSuffix(path.Base(name), ".json")
	if !strings.HasPrefix(base, "sha256:") {
		base = "sha256:" + base
	}
	d := digest.Digest(base)
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
	if t, ok := reference.TagNameOnly(ref).(reference.Tagged); ok {
		tagged, err := reference.WithTag(reference.TrimNamed(ref), t.Tag())
		if err == nil {
			return tagged.String()
		}
	}
	return ""
}

// familiarName is a full name as Docker shows it, and its tag.
func familiarName(full string) (name, tag string) {
	ref, err := reference.ParseNormalizedNamed(full)
	if err != nil {
		return full, ""
	}
	if t, ok := ref.(reference.Tagged); ok {
		tag = t.Tag()
	}
	return reference.FamiliarString(ref), tag
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
