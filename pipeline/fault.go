package pipeline

import (
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Fault is something wrong with a manifest or config that Query.Faults is told
// of. It would be an error for everyone else.
type Fault struct {
	Kind FaultKind
	// Manifest is the digest of the manifest or index at fault.
	Manifest digest.Digest
	Err      error
}

// A FaultKind says what is wrong; it is the name of a check.
type FaultKind string

// The kinds of faults.
const (
	FaultManifestDigest   FaultKind = "manifest-digest"
	FaultManifestFormat   FaultKind = "manifest-format"
	FaultManifestType     FaultKind = "manifest-media-type"
	FaultConfigDescriptor FaultKind = "config-descriptor"
	FaultConfigDigest     FaultKind = "config-digest"
	FaultConfigSize       FaultKind = "config-size"
	FaultConfigFormat     FaultKind = "config-format"
	FaultLayerCount       FaultKind = "layer-count"
	FaultLayerDescriptor  FaultKind = "layer-descriptor"
	FaultDiffID           FaultKind = "diff-id"
	// FaultMissing: a manifest, config or layer is listed and not there.
	FaultMissing FaultKind = "missing-blob"
)

// errFaulty: what a name reaches is left out, and Query.Faults knows why.
var errFaulty = errors.New("it is left out")

// Fault tells of a fault, or returns its error where nobody wants to know. A
// nil error is none.
func (q Query) Fault(kind FaultKind, manifest digest.Digest, err error) error {
	if err == nil || q.Faults == nil {
		return err
	}
	q.Faults(Fault{Kind: kind, Manifest: manifest, Err: err})
	return nil
}

// faulty tells of a fault because of which a manifest is left out.
func (q Query) faulty(kind FaultKind, manifest digest.Digest, err error) error {
	if err := q.Fault(kind, manifest, err); err != nil {
		return err
	}
	return errFaulty
}

// tell tells of all faults, or returns the first one's error.
func (q Query) tell(manifest digest.Digest, faults []Fault) error {
	for _, f := range faults {
		if err := q.Fault(f.Kind, manifest, f.Err); err != nil {
			return err
		}
	}
	return nil
}

// firstOf is the error of the first fault.
func firstOf(faults []Fault) error {
	if len(faults) == 0 {
		return nil
	}
	return faults[0].Err
}

// layerFault says what is wrong with a layer's descriptor.
func layerFault(desc ocispec.Descriptor) error {
	if err := desc.Digest.Validate(); err != nil {
		return err
	}
	if desc.Size < 0 {
		return fmt.Errorf("%w: size %d", ErrDigest, desc.Size)
	}
	return nil
}
