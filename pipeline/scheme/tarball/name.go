package tarball

import (
	"fmt"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/internal/ocilayout"
)

// linkTarget is the member that a link points at. A hard link's target is
// seen from the root of the archive (POSIX pax, linkname), a symbolic link's
// from where it stands.
func linkTarget(name, target string, symbolic bool) (string, error) {
	full := target
	if symbolic && !path.IsAbs(target) {
		full = path.Dir(name) + "/" + target
	}
	key, err := ocilayout.Within("archive", full)
	if err != nil || target == "" {
		return "", fmt.Errorf("the link %q points out of the archive, to %q", name, target)
	}
	return key, nil
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
