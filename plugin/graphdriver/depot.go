package graphdriver

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
)

// An Image is one image of a graph driver.
type Image struct {
	// Config is the image's config, byte for byte; its digest is the image's ID.
	Config []byte
	// Layers are the image's, the lowest first.
	Layers []Layer
}

// A Layer is one layer of an Image.
type Layer struct {
	// DiffID is the digest of the layer's tar, and so that of its blob.
	DiffID digest.Digest
	// Size is that of the tar, in bytes.
	Size int64
}

// A Depot gives out images of one daemon. Its methods may be called at once.
type Depot interface {
	// Image returns an image by its ID; pipeline.ErrNotFound where there is none.
	// The config has been checked by its ID, or the caller does that.
	Image(ctx context.Context, id digest.Digest) (Image, error)
	// Layer returns a layer of an image as a plain tar. It ends with io.EOF only if
	// the bytes have the diff ID: pipeline.ErrDigest takes its place otherwise. The
	// caller closes the reader; the end of ctx may break it off.
	Layer(ctx context.Context, image, diffID digest.Digest) (io.ReadCloser, error)
	// Close ends what the depot holds, and is called after its readers were closed.
	Close() error
}

// A Lender reads the files of a daemon for those who may not: the sidecar.
type Lender interface {
	// Depot gives out the images of the daemon that says root is where it keeps its
	// data. An error is the reason why not, which a person reads.
	Depot(ctx context.Context, root string) (Depot, error)
}
