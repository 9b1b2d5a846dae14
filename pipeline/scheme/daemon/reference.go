package daemon

import (
	"regexp"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"github.com/occystrap/occystrap/pipeline"
)

// A Reference is an image as the user names it to a daemon.
type Reference struct {
	// Ask is what the daemon is asked for: "busybox:latest",
	// "busybox@sha256:…", or an ID.
	Ask string
	// Name is the full name with its tag, "docker.io/library/busybox:latest"; ""
	// for an image that is named by digest or ID alone.
	Name string
	// prefix is the start of an ID that Ask may be; "" when it can be none.
	prefix string
}

// hexID is what may be a whole or shortened image ID. Sha256 is the only
// algorithm in which daemons count IDs.
var hexID = regexp.MustCompile(`^(sha256:)?[0-9a-f]{4,64}$`)

const fullIDLength = 64

// ParseReference reads NAME[:TAG][@DIGEST], where a port is not taken for a tag,
// or an image ID. Names of Docker Hub may be short; the tag is latest when none
// is given.
func ParseReference(s string) (Reference, error) {
	id := hexID.MatchString(s)
	bare := strings.TrimPrefix(s, "sha256:")
	if id && len(bare) == fullIDLength {
		return Reference{Ask: "sha256:" + bare, prefix: bare}, nil
	}
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return Reference{}, pipeline.Usage("docker:// cannot read the image name %q (%v); write docker://NAME[:TAG], as in docker://busybox:1.36", s, err)
	}
	var r Reference
	if id {
		// The daemon looks for a name first and for an ID then, if we leave the
		// tag to it.
		r.prefix = bare
		r.Ask = s
	}
	if d, ok := named.(reference.Digested); ok {
		if _, ok := named.(reference.Tagged); ok {
			r.Name = untilDigest(named.String())
		}
		// Podman 4 refuses a reference with both tag and digest.
		r.Ask = reference.FamiliarName(named) + "@" + d.Digest().String()
		return r, nil
	}
	named = reference.TagNameOnly(named)
	r.Name = named.String()
	if r.Ask == "" {
		r.Ask = reference.FamiliarString(named)
	}
	return r, nil
}

// String is the reference as messages show it.
func (r Reference) String() string { return r.Ask }

// names returns the full names of what the daemon found: none when the
// reference turned out to be an ID.
func (r Reference) names(id string, tags []string) []string {
	if r.Name == "" {
		return nil
	}
	if r.prefix == "" || slices.ContainsFunc(tags, func(t string) bool { return fullName(t) == r.Name }) {
		return []string{r.Name}
	}
	if strings.HasPrefix(strings.TrimPrefix(id, "sha256:"), r.prefix) {
		return nil
	}
	return []string{r.Name}
}

// fullName normalizes a tagged name; "" for one that no daemon could tag.
func fullName(s string) string {
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return ""
	}
	if _, ok := named.(reference.Digested); ok {
		return ""
	}
	return reference.TagNameOnly(named).String()
}

func untilDigest(s string) string {
	name, _, _ := strings.Cut(s, "@")
	return name
}
