package tarball

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// partialMember is the list of images in a partial archive, in the place of
// index.json and manifest.json: with those, Docker's containerd store and others
// would take the archive, and have images that lack layers without knowing.
const partialMember = "occystrap-partial.json"

// partialVersion is that of the member; others are refused.
const partialVersion = 1

// A partialList is what stands in the member.
type partialList struct {
	Version int `json:"occystrapPartial"`
	// Comment is for those who look into the archive with other tools.
	Comment string        `json:"comment"`
	Index   ocispec.Index `json:"index"`
	Omitted []omitted     `json:"omitted"`
}

// omitted is a layer that is not in the archive.
type omitted struct {
	Digest  digest.Digest `json:"digest"`
	Size    int64         `json:"size"` // bytes
	DiffID  digest.Digest `json:"diffID,omitempty"`
	ChainID digest.Digest `json:"chainID,omitempty"`
}

const partialComment = "This archive is not whole: it was written for a place that has the layers under omitted. " +
	"Apply it there with: occystrap process tar://FILE DESTINATION"

// partial reads the list of a partial archive; nil when it is none.
func (a *archive) partial(ctx context.Context) (*partialList, error) {
	if a.members[partialMember] == nil {
		return nil, nil //nolint:nilnil // that it is whole is no error
	}
	if a.members[indexMember] != nil || a.members[savedMember] != nil {
		return nil, fmt.Errorf("it is marked as partial by %s and has the lists of a whole archive too; it is damaged or hostile", partialMember)
	}
	m, err := a.lookup(partialMember)
	if err != nil {
		return nil, err
	}
	raw, err := a.read(ctx, m)
	if err != nil {
		return nil, err
	}
	var list partialList
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("%s: %w", partialMember, err)
	}
	if list.Version != partialVersion {
		return nil, fmt.Errorf("%s has version %d, and this program knows version %d; apply it with the program that wrote it", partialMember, list.Version, partialVersion)
	}
	a.omits = map[digest.Digest]bool{}
	for _, o := range list.Omitted {
		if err := o.Digest.Validate(); err != nil {
			return nil, fmt.Errorf("%s: digest %q: %w", partialMember, o.Digest, err)
		}
		a.omits[o.Digest] = a.blobs[o.Digest] == nil
	}
	return &list, nil
}

var _ pipeline.Sparse = content{}

// Omits says whether a partial archive was made without a blob.
func (c content) Omits(d digest.Digest) bool { return c.omits[d] }

// absent is what reading an omitted layer gives.
func (a *archive) absent(d digest.Digest) error {
	return fmt.Errorf("layer %s is not in it: %w: it is a partial archive, written for a place that has this layer; process it into that place, without filters", d, pipeline.ErrNotFound)
}

var _ pipeline.Partial = (*streamGraph)(nil)

// Absent are the layers that a partial archive was made without, once all of it
// has arrived. A daemon's export is none.
func (g *streamGraph) Absent(ctx context.Context) (absent []pipeline.Layer, err error) {
	if g.trusted {
		return nil, nil
	}
	for l, err := range g.Layers(ctx) {
		if err != nil {
			return nil, err
		}
		if l.Absent {
			absent = append(absent, l)
		}
	}
	return absent, nil
}

// blamed is a layer of an archive in volumes: an error tells which one.
type blamed struct {
	io.ReadCloser
	tell func(error) error
}

func (b *blamed) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.tell(err)
	}
	return n, err
}
