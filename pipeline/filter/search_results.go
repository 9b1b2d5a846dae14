package filter

import (
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The formats in which a face shows what a search finds.
const (
	SearchText   = "text"   // for people, as it always was
	SearchScript = "script" // IMAGE:TAG:LAYER:PATH
	SearchJSON   = "json"   // an object on each line
)

// SearchResults receives what a search finds, from one goroutine at a time, in
// the order of images and layers. An error ends the run.
type SearchResults interface {
	// Layer tells of one layer in which something matches, or which hides what
	// was told of a layer below it.
	Layer(SearchedLayer) error
	// End tells how much was found in all.
	End(SearchSummary) error
}

// A SearchedImage is one image that is searched.
type SearchedImage struct {
	Names    []string
	Manifest ocispec.Descriptor
	// Index is its number among Count images.
	Index, Count int
}

// A SearchedLayer is what there is to tell of one layer.
type SearchedLayer struct {
	Image *SearchedImage
	SearchPlace
	// Matches are in the order of the tar.
	Matches []SearchMatch
	// Hides are matches of lower layers of the same image that this one deletes
	// or replaces.
	Hides []SearchHidden
}

// A SearchPlace says which layer something is in.
type SearchPlace struct {
	// Index is the layer's place in the image, 0 for the lowest.
	Index int
	Blob  ocispec.Descriptor // as the source has it
	// DiffID is the digest of the plain tar as it is where the filter stands;
	// Changed: an earlier filter has made it another than the source's.
	DiffID  digest.Digest
	Changed bool
}

// Name is the digest by which people know the layer: of the stored bytes, or of
// the tar that an earlier filter made of it.
func (p SearchPlace) Name() digest.Digest {
	if p.Changed {
		return p.DiffID
	}
	return p.Blob.Digest
}

// A SearchMatch is an entry that matches.
type SearchMatch struct {
	Path   string // as stored, without the slash that marks a directory
	Type   string // file, directory, symlink, hardlink, fifo, character device, block device, unknown
	Size   int64  // bytes of content
	Target string // of a link
	// Whiteout: it is no file, but says that one of a lower layer is gone.
	Whiteout bool
	// Lines are those that match, with Content; More says that there are others.
	Lines []SearchLine
	More  bool
	// Binary: something matches in a file that is no text; the rest of it was
	// not looked at.
	Binary bool
}

// A SearchLine is a line that matches in a file.
type SearchLine struct {
	Number int64 // from 1
	Offset int64 // of the match, in bytes from the start of the file
	Text   []byte
	// Cut: Text is not the whole line.
	Cut bool
}

// How a layer hides what a lower one has.
const (
	SearchDeleted  = "deleted"
	SearchReplaced = "replaced"
)

// A SearchHidden is a match of a lower layer that is not seen in the image.
type SearchHidden struct {
	SearchMatch
	Of  SearchPlace
	How string // SearchDeleted or SearchReplaced
}

// A SearchSummary counts what was told.
type SearchSummary struct {
	Matches, Layers int // layers in which something matches
	Hidden          int // matches that a later layer hides; none of them with Visible
	Images          int // that were searched
	Unreadable      []SearchUnread
	Elsewhere       int // layers that are kept elsewhere by their URLs
}

// A SearchUnread is a layer that could not be read.
type SearchUnread struct {
	Image *SearchedImage
	SearchPlace
	Err error
}
