package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Platforms says which images of an index are wanted. The zero value leaves
// the choice to the source: a registry gives one image, a daemon or an archive
// gives all that it holds.
type Platforms struct {
	All  bool
	Want []ocispec.Platform
}

// Missing says what happens to an image of an index that the source lists but
// does not hold.
type Missing string

// The policies for missing images; the zero value is MissingPrune.
const (
	MissingPrune Missing = "prune" // leave it out and say so
	MissingFetch Missing = "fetch" // fetch it from the registry its name tells
	MissingFail  Missing = "fail"
)

// Foreign says what happens to a layer that its manifest lists with URLs
// (image-spec, descriptor.md: urls), as Windows base layers are.
type Foreign string

// The policies for foreign layers; the zero value is ForeignKeep.
const (
	ForeignKeep  Foreign = "keep"  // leave it where its URLs point
	ForeignFetch Foreign = "fetch" // bring it along as an ordinary layer
	ForeignSkip  Foreign = "skip"  // leave it out of the image
)

// unread: a layer of this policy is kept elsewhere by its URLs, or skipped, and
// never read.
func (f Foreign) unread() bool { return f == ForeignKeep || f == ForeignSkip }

// Attestations says what happens to the attestations of an image whose digest
// changed. Those of an unchanged image travel with it, but for
// AttestationsNone.
type Attestations string

// The policies for attestations; the zero value is AttestationsDrop.
const (
	AttestationsDrop Attestations = "drop" // leave them out and say so
	AttestationsKeep Attestations = "keep" // point them at the new digest
	AttestationsNone Attestations = "none" // leave out all, those of unchanged images too
)

// ParseAttestations reads the value of --attestations.
func ParseAttestations(s string) (Attestations, error) {
	return oneOf("--attestations", s, AttestationsDrop, AttestationsKeep, AttestationsNone)
}

// oneOf returns s as one of the choices; "" stands for the first.
func oneOf[T ~string](what, s string, choices ...T) (T, error) {
	if s == "" {
		return choices[0], nil
	}
	if slices.Contains(choices, T(s)) {
		return T(s), nil
	}
	var names []string
	for _, c := range choices {
		names = append(names, string(c))
	}
	return "", Usage("%s is %q; it takes one of %s", what, s, strings.Join(names, ", "))
}

// Matcher orders the images of an index for the wanted platforms by
// containerd's rules (arm64 means arm64/v8; linux/arm/v7 accepts v6).
func (p Platforms) Matcher() platforms.MatchComparer {
	return platforms.Ordered(p.Want...)
}

// String lists the wanted platforms for messages.
func (p Platforms) String() string {
	var s []string
	for _, w := range p.Want {
		s = append(s, platforms.Format(w))
	}
	return strings.Join(s, ", ")
}

// DefaultPlatform is linux and this machine's architecture, whatever system
// the tool itself runs on: images are mostly Linux images.
func DefaultPlatform() ocispec.Platform {
	p := platforms.DefaultSpec()
	if p.OS != "linux" {
		p.OS, p.OSVersion, p.OSFeatures = "linux", "", nil
	}
	return platforms.Normalize(p)
}

// ParsePlatform reads "linux/arm64/v8" and its shorter forms.
func ParsePlatform(s string) (ocispec.Platform, error) {
	p, err := platforms.Parse(s)
	if err != nil {
		return p, Usage("platform %q is not of the form os/architecture[/variant], as in linux/arm64", s)
	}
	return p, nil
}

var _ fmt.Stringer = Platforms{}
