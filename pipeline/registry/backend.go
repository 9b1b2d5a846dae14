package registry

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Backend keeps what a Handler serves. What is nil is not offered: without
// Uploads nothing can be pushed, and without Referrers clients fall back to
// the tags of the specification. Blobs, Manifests and Tags are always needed.
//
// All methods may be called at once by many goroutines. The names that they get
// are valid by the specification's grammar, and digests are sha256 or sha512. What is
// not there is pipeline.ErrNotFound, what the place does not do
// errors.ErrUnsupported; an *Error is answered as it is, and any other error as
// status 500, without its text.
type Backend struct {
	Blobs     Blobs
	Uploads   Uploads
	Manifests Manifests
	Tags      Tags
	Referrers Referrers
	// Sparse accepts manifests that name blobs or manifests which are not there.
	Sparse bool
	// Place names the backend in pipeline.Layer.Origin ("PLACE/REPOSITORY"), so that
	// a Sink finds the layers that another of its repositories has, and takes them
	// by Mount. "" where nothing is to be found so.
	Place string
}

// An Adopter is implemented by Blobs that can take a blob of another backend
// without its bytes being sent again, as two that lie in one store can. Only a Sink
// asks for it, never a client: who may see the blob was judged before.
type Adopter interface {
	// Adopt makes a blob visible in a repository, which origin has (a
	// pipeline.Layer.Origin). ErrNotFound has the bytes sent.
	Adopt(ctx context.Context, repository, origin string, d digest.Digest) error
}

// Blobs are the bytes of a repository by their digest.
type Blobs interface {
	// Stat says how many bytes a blob has.
	Stat(ctx context.Context, repository string, d digest.Digest) (int64, error)
	// Open reads a blob from an offset on, which is at most its size. The caller closes it. An
	// *os.File is sent by the kernel, and so are the parts of a Growing one.
	Open(ctx context.Context, repository string, d digest.Digest, offset int64) (io.ReadCloser, error)
	// Mount makes a blob of another repository visible in this one; from is ""
	// for any that the client may read. ErrNotFound has the client upload it.
	Mount(ctx context.Context, repository, from string, d digest.Digest) error
	// Delete removes a blob from the repository.
	Delete(ctx context.Context, repository string, d digest.Digest) error
}

// Growing is implemented by what Blobs.Open returns where a blob is read out of a file
// that it still arrives in.
type Growing interface {
	// Part waits for bytes and returns a reader of them, at most limit, and how many
	// these are: an *os.File at its place, where there is one. They must be read before
	// the next call. io.EOF is the end of the blob.
	Part(limit int64) (io.Reader, int64, error)
}

// Uploads are blobs that arrive, in one request or in several. The place gives up those
// that nobody writes to any more; when, is its own matter.
type Uploads interface {
	// Begin starts an upload under a name that the Handler made up.
	Begin(ctx context.Context, repository, id string) (Upload, error)
	// Resume returns an upload that goes on. The Handler lets one request write at
	// a time; others may ask for the size meanwhile.
	Resume(ctx context.Context, repository, id string) (Upload, error)
	// Cancel forgets an upload; who is writing to it gets an error.
	Cancel(ctx context.Context, repository, id string) error
}

// An Upload is one blob that arrives.
type Upload interface {
	// Write appends.
	io.Writer
	// Size is how many bytes were written so far, by all requests.
	Size() int64
	// Open reads what was written so far, from its beginning.
	Open(ctx context.Context) (io.ReadCloser, error)
	// Commit ends the upload and makes it visible as a blob of its repository. The
	// digest has been verified. A blob that is there already is no error.
	Commit(ctx context.Context, d digest.Digest) error
	// Close ends one request's use of the upload and keeps what was written. After
	// Commit it does nothing.
	Close() error
}

// A Ref names a manifest in a repository: one of the two is set.
type Ref struct {
	Tag    string
	Digest digest.Digest
}

// String is the reference as it stands in a path.
func (r Ref) String() string {
	if r.Digest != "" {
		return r.Digest.String()
	}
	return r.Tag
}

// Manifests are the manifests and indexes of a repository.
type Manifests interface {
	// Stat describes a manifest: media type, digest and size.
	Stat(ctx context.Context, repository string, ref Ref) (ocispec.Descriptor, error)
	// Get returns a manifest with its bytes, exactly as they were put.
	Get(ctx context.Context, repository string, ref Ref) (ocispec.Descriptor, []byte, error)
	// Put stores a manifest and points tags at it: all of it or nothing. When it
	// returns, a client is told that the image is there.
	Put(ctx context.Context, repository string, m Manifest, tags []string) error
	// Delete removes a manifest and all tags that point at it.
	Delete(ctx context.Context, repository string, d digest.Digest) error
}

// Tags are the tags of a repository.
type Tags interface {
	// List returns at most n tags that come after last, in the order of their
	// bytes. A repository without tags has none; one that is not there is
	// ErrNotFound.
	List(ctx context.Context, repository, last string, n int) ([]string, error)
	// Delete removes a tag and leaves its manifest.
	Delete(ctx context.Context, repository, tag string) error
}

// Referrers knows which manifests have a manifest as their subject.
type Referrers interface {
	// List returns the Desc of each Manifest with that subject in the repository,
	// in any order, whether or not the subject itself is there. None is no error.
	List(ctx context.Context, repository string, subject digest.Digest) ([]ocispec.Descriptor, error)
}
