package pipeline

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/internal/codec"
)

// A Sink is a place that images are written to. Run calls Plan and Layer from
// many goroutines, then Commit and Publish from one.
type Sink interface {
	// Plan says how a layer is wanted, before a byte of it moves. It is asked
	// about the layer as it would arrive if nothing changed it.
	Plan(ctx context.Context, l Layer) (Plan, error)
	// Layer starts to receive one layer. Seq is the layer's place in the order
	// in which the source yielded: a sink whose bytes depend on order (an
	// archive) puts layers in that order, whenever they come.
	Layer(ctx context.Context, seq int, l Layer) (LayerWriter, error)
	// Commit receives a manifest whose layers have all been committed, children
	// before parents. Nothing can be seen under a name yet.
	Commit(ctx context.Context, m Manifest) error
	// Publish makes every root visible under its name: a rename, a tag.
	Publish(ctx context.Context) error
	// Close discards what was not published. After Publish it is harmless.
	Close() error
}

// A Plan is a sink's answer about one layer.
type Plan struct {
	// Held: the sink has these very bytes, or opens the layer itself (Fetcher); they
	// need not be sent. Layer is not called for it.
	Held bool
	// Encoding is what the sink wants; AsItCame unless it cannot take the
	// layer's own.
	Encoding Encoding
	// IfPlain is the encoding for a layer whose bytes turn out not to be
	// compressed, where Encoding leaves layers as they came; "" leaves it plain.
	IfPlain Compression
}

// encoding is what a layer that came compressed as c will be sent as; stored is
// how one that was made of others was compressed before.
func (p Plan) encoding(c, stored Compression) Encoding {
	e := p.Encoding
	if e.Compression == "" && c == Plain {
		if e.Compression = stored; stored == "" {
			e.Compression = p.IfPlain
		}
	}
	if e.Compression == "" {
		e.Compression = c
	}
	return e
}

// A LayerWriter takes the bytes of one layer as they will be stored.
type LayerWriter interface {
	io.Writer
	// Commit ends the layer. The bytes written are those of blob: the writer
	// has the digest and size from who computed them while writing. DiffID is
	// "" for an opaque blob, or when nobody needed to read the plain tar.
	Commit(ctx context.Context, blob ocispec.Descriptor, diffID digest.Digest) error
	// Close without Commit discards the layer: another writer for the same seq
	// may follow. After Commit it is harmless.
	Close() error
}

// Skipper is implemented by an ordered sink: Skip says that seq will never
// come, because the layer is held, foreign, or the same as an earlier one.
type Skipper interface {
	Skip(seq int)
}

// Fetcher is implemented by a sink that answers Held for layers which it reads
// from the source itself, if its place turns out to lack them. Fetched is how many
// bytes of a layer it has read, once all was published.
type Fetcher interface {
	Fetched(layer digest.Digest) int64
}

// Limited is implemented by a sink that may not be able to hold all that a
// source gives. Run asks it before it opens the source, so that nothing travels
// in vain.
type Limited interface {
	Capacity(ctx context.Context) (Capacity, error)
}

// A Capacity is what a sink can hold. The zero value is everything.
type Capacity struct {
	// OneName: the sink has one name, so it takes one image or index.
	OneName bool
	// Platform, if set: the sink holds no indexes. Unless Query.Platforms says
	// otherwise, an index stands for its image for this platform, or for the
	// only one that it has.
	Platform *ocispec.Platform
	// NoReferrers: the sink cannot hold what refers to an image, such as its
	// signature. One that has a Platform cannot either.
	NoReferrers bool
	// Chains: the sink holds layers by what they stand upon (Layer.ChainID), so
	// it must know of each layer what lies below before it is asked.
	Chains bool
	// NoAnnotations: the sink keeps configs and layers, but no manifests, which
	// annotations are in.
	NoAnnotations bool
	// OnlyConfigs: the sink knows an image by its config. The manifest that led
	// to it is kept nowhere, and says what was sent rather than what is there, so
	// a report names the config in its place.
	OnlyConfigs bool
}

// Mounter is implemented by a sink that can take a layer from a neighbour
// without its bytes (a registry, from another repository). For a layer that a
// filter must see first, Plan is asked without Layer.Origin, so that nothing is
// mounted that a filter then removes; where MayMount answers true, the layer is
// scanned without being sent, and Plan is asked again.
type Mounter interface {
	MayMount(l Layer) bool
}

// Encoding is how a layer's tar is stored.
type Encoding struct {
	// Compression is how the bytes are compressed; "" leaves the layer as it
	// came.
	Compression Compression
	// Level is the compressor's; 0 stands for its default (gzip 6, zstd 3).
	Level int
	// Anew: a layer that has this compression already is compressed anew, too.
	Anew bool
	// Recompress is how layers that a filter changed are compressed again; ""
	// leaves that to the filters and the user.
	Recompress Recompress
}

// AsItCame is the Encoding of a sink that takes what there is.
var AsItCame = Encoding{}

// Compression names a way to compress a layer.
type Compression = codec.Compression

// The compressions that layers come in and can be written in.
const (
	Plain = codec.Plain
	Gzip  = codec.Gzip
	Zstd  = codec.Zstd
)
