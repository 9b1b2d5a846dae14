package pipeline

import (
	"context"
	"io"
	"iter"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Source is a place that images are read from.
type Source interface {
	// Open resolves the names that the source was made for. The caller closes
	// the graph. No layer is read before Graph.Layers is ranged over.
	Open(ctx context.Context, q Query) (Graph, error)
}

// A Query says which part of what a name reaches is wanted.
type Query struct {
	Platforms Platforms
	// Capacity is what the sink can hold; Run fills it in.
	Capacity Capacity
	// Below: a filter looks at the layers below (Recipe.Below), so none is to be
	// yielded before its manifest is known; Run fills it in.
	Below   bool
	Missing Missing
	Foreign Foreign
	// Referrers: what refers to the manifests is wanted too (signatures, SBOMs),
	// where the source is Referring.
	Referrers bool
	// Elsewhere finds the registry that an image came from, for Missing ==
	// MissingFetch. Nil: there is none.
	Elsewhere func(ctx context.Context, name string) (Content, error)
	// OpenURL opens a foreign layer's URL, for Foreign == ForeignFetch.
	OpenURL func(ctx context.Context, url string) (io.ReadCloser, error)
	// Events receives what the user should know (a platform that was left
	// out).
	Events Events
	// Brief: no layer will be opened. A source that would have to read the whole
	// image for its manifest may give the config alone, made up of what it knows:
	// Manifest.Raw is nil then.
	Brief bool
	// Foresight is set by Foresee: no layer will be opened, nothing may be moved or
	// written for the answer, and what a source cannot say exactly it notes there.
	Foresight *Foresight
	// Faults, where it is set, is told what is wrong with manifests and configs;
	// they are then read as far as they can be. It is for commands that judge an
	// image: the graph may be written nowhere.
	Faults func(Fault)
	// Listed, where it is set, is told of each index that one image is chosen
	// from, with its bytes; the graph has the image and not the index.
	Listed func(index ocispec.Descriptor, raw []byte)
	// looks: nothing is carried, so what a layout lists beside its images is read
	// like them.
	looks bool
	// Limits bound what a hostile source may make us hold. The zero value
	// stands for the defaults.
	Limits Limits
}

// NeedsManifests says that layers are not to be yielded before it is known whose
// they are: some may be left out, or a filter must know what lies below.
func (q Query) NeedsManifests() bool {
	narrow := len(q.Platforms.Want) > 0 || q.Capacity.Platform != nil
	return q.Below || q.Capacity.OneName || narrow && !q.Platforms.All
}

// listed tells who asked for it of an index that an image is chosen from.
func (q Query) listed(index ocispec.Descriptor, raw []byte) {
	if q.Listed != nil {
		q.Listed(index, raw)
	}
}

// A Graph is all that the names of a source reach: images, indexes,
// attestations and artifacts.
type Graph interface {
	// Layers yields the layer blobs, as the source learns of them. A blob comes
	// again where it stands upon other layers, or has another role. What is
	// yielded may be opened at once and until Close.
	Layers(ctx context.Context) iter.Seq2[Layer, error]
	// Manifests yields children before parents. It is ranged over after Layers
	// has ended, so a source that learns its manifests last is welcome.
	Manifests(ctx context.Context) iter.Seq2[Manifest, error]
	// Close releases what Open and Layers took: connections, temporary files.
	Close() error
}

// A Manifest is an image manifest, an index or an artifact manifest, with its
// bytes as they were stored.
type Manifest struct {
	// Desc describes Raw, or what a source knows where Raw is nil (Query.Brief);
	// Platform and Annotations are as the parent lists them.
	Desc ocispec.Descriptor
	Raw  []byte
	// Config is the blob that the manifest's config descriptor names; nil for
	// an index.
	Config []byte
	// Root marks what the source's names point at; all else is reached from it.
	Root bool
	// Names are a root's full names ("docker.io/library/busybox:1.36"), most
	// specific first. A root may have none.
	Names []string
	// Refers says what a manifest speaks of that is here for that alone
	// (Query.Referrers); nil for what the names reach by themselves.
	Refers []Referral
}

// A Role says what a layer blob is for.
type Role int

// The roles of a blob in a manifest's layers.
const (
	// FileSystem is a change of the file system: a tar, perhaps compressed.
	FileSystem Role = iota
	// Opaque is an artifact's or attestation's blob, which no filter touches.
	Opaque
	// Unknown is a blob whose manifest has not been seen yet.
	Unknown
)

// A Layer is a blob that a manifest lists among its layers.
type Layer struct {
	// Blob describes the bytes that Open returns.
	Blob ocispec.Descriptor
	// Foreign says what to do with a layer whose manifest gives it URLs; "" for
	// an ordinary one. One that is kept or skipped is never opened.
	Foreign Foreign
	// DiffID is the digest of the plain tar as the config states it; "" while
	// unknown. It is a claim until the layer was read.
	DiffID digest.Digest
	Role   Role
	// Platform is that of an image that the layer belongs to; nil while unknown.
	Platform *ocispec.Platform
	// Parents are the layers below this one in its image, the lowest first;
	// nil while unknown.
	Parents []Layer
	// Base names the base image that the layer belongs to in the image at hand,
	// where a filter asks for it (BaseFinder); "" otherwise.
	Base string
	// Stored is how a layer that was made of others was compressed before: it is
	// stored so again where the sink takes layers as they come. "" for others.
	Stored Compression
	// madeOf says what a layer was made of that no source holds; "" for others.
	madeOf string
	// Origin names a repository ("registry.example/team/app") from which a
	// registry may mount the blob; "" for none.
	Origin string
	// Absent: the source lists the layer and was made without it (Sparse). It is
	// good for a sink that holds it; Open says why there is nothing to open.
	Absent bool
	// Open returns the stored bytes from the start, again and again. Bytes that
	// are not those of Blob are an error in place of io.EOF.
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// Content is a place that holds blobs by their digest.
type Content interface {
	// Fetch returns a whole small blob (a manifest or config), verified. Bytes
	// that are not those promised may come along with ErrDigest.
	// ErrNotFound says that the place does not hold it.
	Fetch(ctx context.Context, desc ocispec.Descriptor) ([]byte, error)
	// Holds says whether the blob could be opened, without reading it. A place
	// that cannot say cheaply answers true.
	Holds(ctx context.Context, desc ocispec.Descriptor) (bool, error)
	// Open returns the stored bytes; a wrong digest is an error in place of
	// io.EOF.
	Open(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error)
}
