package pipeline

import (
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Options say how a run goes. The zero value works.
type Options struct {
	Query
	// Parallel is how many layers are in flight at once; 0 stands for 4.
	Parallel int
	// Retries is how often a layer is run again when an end failed in a way that
	// may pass.
	Retries int
	// Attestations says what happens to those of a changed image.
	Attestations Attestations
	// Recompress says how changed layers are compressed, where neither a filter nor
	// the sink does.
	Recompress Recompress
	// TempDir holds what filters and runs must put aside; "" is the system's.
	TempDir string
	// Storing says how all layers are stored, changed or not.
	Storing Storing
	// Provenance is what is recorded of what changed.
	Provenance Provenance
	// Cache knows what layers became in other runs, and learns from this one. Nil:
	// there is none.
	Cache Cache

	// origins says what manifests were before an earlier run of the same chain of
	// filters, by the digest that they came with.
	origins map[digest.Digest]origin
	// became gets what the manifests of this run were, by the digests that they have
	// behind it. Nil: nobody wants to know.
	became map[digest.Digest]origin
}

const defaultParallel = 4

// A Report says what a run did. Sizes are bytes.
type Report struct {
	Roots   []RootReport
	Layers  []LayerReport
	Read    int64 // stored bytes that were read from the source
	Reused  int64 // stored bytes that the sink had already
	Rewrote int64 // plain bytes of layers that a filter changed
	Written int64 // bytes that went to the sink: layers, configs, manifests
	Dropped []string
	// Referrers is how many manifests came along for what they speak of; records of
	// provenance are not counted.
	Referrers int
	// Lanes are the ways that the source and the sink took, where they have several.
	Lanes    []LaneReport
	Duration time.Duration
}

// A RootReport is one image or index that was published. Where the sink knows
// images by their configs (Capacity.OnlyConfigs), Source and Manifest are about
// the config.
type RootReport struct {
	Names    []string
	Source   digest.Digest // of the manifest as it was
	Manifest ocispec.Descriptor
	Config   digest.Digest // an image's; "" for an index
}

// A LayerReport says what became of one layer.
type LayerReport struct {
	Source, Result             ocispec.Descriptor
	SourceDiffID, ResultDiffID digest.Digest
	How                        How
	// Recipe is what the filters do and how changed layers are compressed; ""
	// where no filter sees the layer.
	Recipe string
	// Why says why a layer was compressed anew though it was to be edited.
	Why   string
	Notes []string
}
