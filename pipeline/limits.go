package pipeline

import "fmt"

// Limits bound what hostile input may cost. A zero field stands for its
// default.
type Limits struct {
	// Manifest is the largest manifest, index or config, in bytes.
	Manifest int64
	// Layer is the largest plain layer, in bytes: the guard against
	// decompression bombs.
	Layer int64
	// Entries is the largest number of entries in one layer or archive.
	Entries int64
	// Manifests is the largest number of manifests that one root may reach.
	Manifests int
}

// Registries must take manifests of 4 MiB (distribution-spec, "Pushing
// Manifests"); configs of generated images are the largest seen, about 2 MiB.
const (
	defaultManifestLimit  = 8 << 20
	defaultLayerLimit     = 256 << 30
	defaultEntriesLimit   = 20_000_000
	defaultManifestsLimit = 1000
)

// WithDefaults fills in the zero fields.
func (l Limits) WithDefaults() Limits {
	if l.Manifest == 0 {
		l.Manifest = defaultManifestLimit
	}
	if l.Layer == 0 {
		l.Layer = defaultLayerLimit
	}
	if l.Entries == 0 {
		l.Entries = defaultEntriesLimit
	}
	if l.Manifests == 0 {
		l.Manifests = defaultManifestsLimit
	}
	return l
}

// CheckManifest refuses a manifest or config of more than the limit, by its
// size in bytes, before it is read.
func (l Limits) CheckManifest(what string, size int64) error {
	if limit := l.WithDefaults().Manifest; size > limit {
		return fmt.Errorf("%s has %d bytes: %w of %d (raise it with --max-manifest-size)", what, size, ErrLimit, limit)
	}
	return nil
}
