package compare

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// A Change is a path at which the images differ.
type Change struct {
	// Path has no leading slash; the root's is "".
	Path string
	// A and B are what the images have there; nil for nothing.
	A, B *File
	// What says how A and B differ, in the order of Aspects; nil where one of them
	// is nil.
	What []Aspect
}

// An Aspect is a part of what a file is.
type Aspect string

// Aspects are the ways in which files differ. A type that differs is told alone.
const (
	AspectType    Aspect = "type"
	AspectContent Aspect = "content"
	AspectTarget  Aspect = "target" // of a link
	AspectDevice  Aspect = "device" // its numbers
	AspectMode    Aspect = "mode"
	AspectOwner   Aspect = "owner"
	AspectTime    Aspect = "time" // of the last change of its content
	AspectXattrs  Aspect = "xattrs"
)

// A File is what an image has at a path.
type File struct {
	// Type is file, directory, symlink, character device, block device, fifo, unknown
	// or hardlink. A hard link is what its target is, and only where the layer does
	// not have that before it a hardlink, of which no more than Link is known.
	Type string
	// Link is the path that a hard link is to; "" for what is none. It does not count
	// as a difference, but for a hardlink.
	Link string
	// Implied: a directory that no layer has an entry for; only Type is known.
	Implied bool
	// Layer has the entry; the lowest is 0.
	Layer int
	// Size is that of a file's content in bytes.
	Size int64
	// Sum is the SHA-256 of a file's content. That of a sparse file is of what the
	// archive stores, without its holes.
	Sum [32]byte
	// Mode has the permissions with setuid, setgid and sticky.
	Mode         uint32
	UID, GID     int64
	Time         time.Time
	Target       string // of a symbolic link
	Major, Minor int64
	Xattrs       []Xattr // by their names

	kind kind
}

// An Xattr is an extended attribute, with a digest of its value.
type Xattr struct {
	Name string
	sum  [shortSum]byte
}

// Bytes are those of a file's content that no other name has, as far as that is known.
func (f *File) Bytes() int64 {
	if f.Link != "" {
		return 0
	}
	return f.Size
}

// IsFile says whether it is a regular file.
func (f *File) IsFile() bool { return f.kind == file }

// IsDevice says whether it is a character or block device.
func (f *File) IsDevice() bool { return f.kind == char || f.kind == block }

// IsAlone says whether mode, owner and time are its own and known.
func (f *File) IsAlone() bool { return !f.Implied && f.kind != hardlink }

// Digest is that of a regular file's content; "" for all else.
func (f *File) Digest() digest.Digest {
	if !f.IsFile() {
		return ""
	}
	return digest.NewDigestFromBytes(digest.SHA256, f.Sum[:])
}

// Files yields where the files of the images differ, by path; it may be ranged over
// again, and reads the temporary file each time. The order is that of a walk: what
// a directory holds comes right after it.
func (c *Comparison) Files(ctx context.Context) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		for change, err := range c.each(ctx, func() {}) {
			if !yield(change, err) {
				return
			}
		}
	}
}

// each is Files; same is told of each path that is no different.
func (c *Comparison) each(ctx context.Context, same func()) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		if c.shelf == nil {
			return
		}
		a, b := c.shelf.visible(ctx, c.A.layers), c.shelf.visible(ctx, c.B.layers)
		for pair, err := range pairs(a, b, func(n node) []byte { return n.key }) {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(Change{}, err)
				return
			}
			change, err := c.change(pair)
			switch {
			case err != nil:
				yield(change, err)
				return
			case c.opts.Match != nil && !c.opts.Match(placeOf(pairKey(pair))):
			case change.A == nil && change.B == nil:
				same()
			case !yield(change, nil):
				return
			}
		}
	}
}

func pairKey(pair [2]*node) []byte {
	if pair[0] != nil {
		return pair[0].key
	}
	return pair[1].key
}

// change is how two nodes differ; neither A nor B is set where they do not.
func (c *Comparison) change(pair [2]*node) (Change, error) {
	a, b := pair[0], pair[1]
	if len(pairKey(pair)) == 0 && (a == nil || b == nil) { // the root needs no entry
		return Change{}, nil
	}
	if a != nil && b != nil && bytes.Equal(a.record, b.record) {
		return Change{}, nil
	}
	out := Change{Path: placeOf(pairKey(pair))}
	var err error
	if a != nil {
		if out.A, err = a.file(); err != nil {
			return out, err
		}
	}
	if b != nil {
		if out.B, err = b.file(); err != nil {
			return out, err
		}
	}
	if a == nil || b == nil {
		return out, nil
	}
	if out.What = c.aspects(out.A, out.B); len(out.What) == 0 {
		return Change{}, nil
	}
	return out, nil
}

func (n *node) file() (*File, error) {
	f, err := decode(n.record)
	f.Layer = n.position
	return f, err
}

// aspects are the ways in which two files differ. Of a directory without an entry
// nobody knows more than that it is there.
func (c *Comparison) aspects(a, b *File) (out []Aspect) {
	if a.kind != b.kind {
		return []Aspect{AspectType}
	}
	if a.Implied || b.Implied {
		return nil
	}
	for _, is := range []struct {
		different bool
		aspect    Aspect
	}{
		{a.Sum != b.Sum || a.Size != b.Size, AspectContent},
		{a.Target != b.Target || a.kind == hardlink && a.Link != b.Link, AspectTarget},
		{a.Major != b.Major || a.Minor != b.Minor, AspectDevice},
		{a.Mode != b.Mode && a.kind != symlink, AspectMode}, // no system has modes of links
		{a.UID != b.UID || a.GID != b.GID, AspectOwner},
		{!a.Time.Equal(b.Time) && !c.opts.IgnoreTimes, AspectTime},
		{!slices.Equal(a.Xattrs, b.Xattrs), AspectXattrs},
	} {
		if is.different {
			out = append(out, is.aspect)
		}
	}
	return out
}

// A Summary counts.
type Summary struct {
	Added, Removed, Changed int
	// Same are paths of the layers that were read at which both images have the same.
	Same int
	// AddedBytes and RemovedBytes are those of files that are added and removed;
	// Growth is by how many bytes the files of B are larger altogether. Hard links
	// have none of their own.
	AddedBytes, RemovedBytes, Growth int64
}

// count reads all changes once.
func (c *Comparison) count(ctx context.Context) error {
	var s Summary
	for change, err := range c.each(ctx, func() { s.Same++ }) {
		if err != nil {
			return err
		}
		switch {
		case change.A == nil:
			s.Added++
			s.AddedBytes += change.B.Bytes()
			s.Growth += change.B.Bytes()
		case change.B == nil:
			s.Removed++
			s.RemovedBytes += change.A.Bytes()
			s.Growth -= change.A.Bytes()
		default:
			s.Changed++
			s.Growth += change.B.Bytes() - change.A.Bytes()
		}
	}
	c.Summary = s
	return nil
}
