// Package imagename spells the names of images: in full, as a run carries them,
// and as Docker shows them. Which names an image gets is for its users.
package imagename

import (
	"slices"
	"strings"

	"github.com/distribution/reference"
)

// Full spells an image's name in full, "docker.io/library/busybox:latest"; "" when
// it is not a name with a tag that any tool would take.
func Full(name string) string {
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

// AllFull spells names in full, each once, and leaves out what is none.
func AllFull(names []string) []string { return Valid(names, func(string) {}) }

// Valid spells names in full, each once, and tells invalid of what is none. What
// has a digest names nothing either, but nobody did anything wrong.
func Valid(names []string, invalid func(name string)) (out []string) {
	for _, n := range names {
		if full := Full(n); full != "" {
			out = Append(out, full)
		} else if n != "" && !strings.Contains(n, "@") {
			invalid(n)
		}
	}
	return out
}

// Split takes a full name apart as Docker shows it: "busybox" and "latest".
func Split(full string) (name, tag string) {
	ref, err := reference.ParseNormalizedNamed(full)
	if err != nil {
		return full, ""
	}
	if t, ok := ref.(reference.Tagged); ok {
		tag = t.Tag()
	}
	return reference.FamiliarName(ref), tag
}

// Familiar is a full name as Docker shows it: "busybox:latest".
func Familiar(full string) string {
	ref, err := reference.ParseNormalizedNamed(full)
	if err != nil {
		return full
	}
	return reference.FamiliarString(ref)
}

// Append appends the names, or tags, that are not there yet; "" is none.
func Append(names []string, more ...string) []string {
	for _, n := range more {
		if n != "" && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}
