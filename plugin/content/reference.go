package content

import (
	"strings"

	docker "github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// A reference is an image as the user names it.
type reference struct {
	given string
	// names are what containerd may have the image under, the likeliest first:
	// it takes any text, and tools put full names there.
	names []string
	// name is the full name with its tag, "docker.io/library/busybox:latest"; ""
	// for what has none.
	name string
	// repository is the full name without tag, for an image that is named by
	// digest; "" for any.
	repository string
	// digest is what the image must have; "" for any.
	digest digest.Digest
}

// parseReference reads NAME[:TAG][@DIGEST] or DIGEST. Text that is no name of
// an image is one that containerd may have all the same.
func parseReference(s string) reference {
	r := reference{given: s, names: []string{s}}
	if d := digest.Digest(s); d.Validate() == nil {
		r.digest = d
		return r
	}
	if d := digest.NewDigestFromEncoded(digest.SHA256, s); d.Validate() == nil {
		r.digest, r.names = d, []string{d.String()}
		return r
	}
	n, err := docker.ParseNormalizedNamed(s)
	if err != nil {
		return r
	}
	if d, ok := n.(docker.Digested); ok {
		r.digest, r.repository = d.Digest(), n.Name()
		if _, ok := n.(docker.Tagged); ok {
			r.name, _, _ = strings.Cut(n.String(), "@")
			r.names = append(r.names, n.String(), r.name)
		}
		r.names = append(r.names, n.Name()+"@"+r.digest.String())
		return r
	}
	r.name = docker.TagNameOnly(n).String()
	r.names = append(r.names, r.name)
	return r
}

// fullName normalises a tagged name; "" for one that is none.
func fullName(s string) string {
	if r := parseReference(s); r.digest == "" {
		return r.name
	}
	return ""
}
