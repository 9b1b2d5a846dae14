// Package unpack makes of one layer the directory that overlayfs takes for it, as
// containerd's own differ would, but in one pass, without the layers below it, and
// while the layer still arrives.
//
//	stored bytes ─▶ inflate ─▶ digest ─▶ files, whiteouts as overlayfs's marks
//	                                └─▶ directories that the layer has no entry for
//	                                    ─▶ Inherit, once the lower layers are there
//
// A layer is a stranger's: nothing of it reaches outside the directory (see package
// rootfs below internal). Whose directory it is, and when it may be seen, is the
// business of the caller.
package unpack

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/codec"
	"github.com/occystrap/occystrap/pipeline/internal/rootfs"
)

// readSize is how much of a plain tar is read at once.
const readSize = 128 << 10

// A Result says what became of a layer.
type Result struct {
	// DiffID is the digest of the plain tar that was unpacked.
	DiffID digest.Digest
	// Implied are directories that the layer has files in and no entry for, the
	// outer ones first: they have mode 0755 until Inherit.
	Implied []string
	// LeftOut says, for the user, what the file system cannot hold; "" for nothing.
	LeftOut string
}

// Options say how a layer is unpacked. The zero value works.
type Options struct {
	Limits pipeline.Limits
	// Lowest: there is no layer below, so whiteouts leave no marks: some mount the
	// directory of a lowest layer as it is.
	Lowest bool
}

// Layer unpacks a layer, compressed or not, into an open directory, which is empty
// and stays the caller's. It takes root. After an error the directory is of no use.
func Layer(ctx context.Context, dir *os.File, stored io.Reader, opts Options) (r Result, err error) {
	limits := opts.Limits.WithDefaults()
	plain, _, err := codec.NewReader(stored)
	if err != nil {
		return r, err
	}
	defer plain.Close()
	tree, err := rootfs.New(dir, rootfs.Options{Entries: limits.Entries, Sparse: limits.Layer, Marks: true, Lowest: opts.Lowest})
	if err != nil {
		return r, err
	}
	defer tree.Close()
	sum := sha256.New()
	// Tar is read in blocks of 512 bytes, which neither the digest nor the inflater
	// should feel.
	in := bufio.NewReaderSize(io.TeeReader(&bounded{r: plain, left: limits.Layer, limit: limits.Layer}, sum), readSize)
	if err := tree.Stream(ctx, in); err != nil {
		return r, err
	}
	if _, err := io.Copy(io.Discard, in); err != nil { // what is behind the tar's end counts for its digest
		return r, err
	}
	r.Implied = tree.Implied()
	left, err := tree.Finish()
	if err != nil {
		return r, err
	}
	r.LeftOut, r.DiffID = left.String(), digest.NewDigest(digest.SHA256, sum)
	return r, nil
}

// Inherit gives directories of an unpacked layer the owners, modes, times and
// attributes that they have in lower layers, the topmost first.
func Inherit(dir *os.File, implied []string, lowers []*os.File) error {
	return rootfs.Inherit(dir, implied, lowers)
}

// bounded refuses a layer that is larger than the limit.
type bounded struct {
	r           io.Reader
	left, limit int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("the layer's plain tar: %w of %d bytes (raise it with --max-layer-size)", pipeline.ErrLimit, b.limit)
	}
	return n, err
}
