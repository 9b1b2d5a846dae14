package tarball

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/ocilayout"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

const (
	// defaultEntries bounds the members of an archive where the user set no
	// limit: the default of pipeline.Limits is meant for layers, whose entries
	// nobody keeps. docker save writes up to 4 for each layer.
	defaultEntries = 1 << 18
	// maxNames bounds the memory that members' names take together.
	maxNames = 64 << 20
	// maxLinks is how many links in a row are followed, as in Linux.
	maxLinks = 40
)

// An archive is what the headers of a tar say: where its members lie.
type archive struct {
	what    string // names the archive in messages
	limits  pipeline.Limits
	entries int64
	names   int64
	members map[string]*member
	// blobs are the members known by digest; none was verified yet.
	blobs map[digest.Digest]*member
	// section reads n bytes at off of what holds the members.
	section func(ctx context.Context, off, n int64) io.Reader
	// listed are the images of the archive's lists, once they were read.
	listed    []pipeline.Root
	referring sync.Once // guards what Referrers finds
	referrers map[digest.Digest][]pipeline.Referrer
	unlisted  error // why there is no list of referrers
	// omits are blobs that a partial archive was made without.
	omits map[digest.Digest]bool
	// blame adds to an error about these bytes where they lie; nil: they lie in one
	// file.
	blame func(err error, off, n int64) error
	// own: what holds the members is ours alone, and a sum computed once holds.
	own bool
}

// A member is one file or link of an archive.
type member struct {
	name      string
	link      string // the member that it stands for; "" for a file
	off, size int64
	sum       digest.Digest // of the content, where it was computed
	data      []byte        // content that is not in the archive
}

func newArchive(what string, limits pipeline.Limits) *archive {
	if limits.Entries == 0 || limits.Entries == (pipeline.Limits{}).WithDefaults().Entries {
		limits.Entries = defaultEntries
	}
	return &archive{
		what: what, limits: limits.WithDefaults(),
		members: map[string]*member{}, blobs: map[digest.Digest]*member{},
	}
}

// member reads one header; nil for what an image archive has no use for:
// directories and devices.
func (a *archive) member(h *tar.Header) (*member, error) {
	if a.entries++; a.entries > a.limits.Entries {
		return nil, fmt.Errorf("%w of %d entries (raise it with --max-entries)", pipeline.ErrLimit, a.limits.Entries)
	}
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil, nil
	}
	name, err := ocilayout.Within("archive", h.Name)
	if err != nil {
		return nil, err
	}
	if a.names += int64(len(name) + len(h.Linkname)); a.names > maxNames {
		return nil, fmt.Errorf("its names take more than %d bytes: %w", maxNames, pipeline.ErrLimit)
	}
	m := &member{name: name, size: h.Size}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		if tarstream.Sparse(h) {
			return nil, fmt.Errorf("%s is stored as a sparse file, which no tool writes into an image archive; pack it again without --sparse", name)
		}
		return m, nil
	case tar.TypeSymlink, tar.TypeLink:
		m.size = 0
		m.link, err = linkTarget(name, h.Linkname, h.Typeflag == tar.TypeSymlink)
		return m, err
	}
	return nil, nil
}

// add makes a member known. A name may come twice where both are the same; two
// different ones are refused, because tools differ in which of them they take.
// A blob named by its digest is verified whenever it is read: the first counts.
func (a *archive) add(ctx context.Context, m *member) error {
	d := blobDigest(m.name)
	have := a.members[m.name]
	if have == nil {
		a.members[m.name] = m
		if d != "" {
			a.blobs[d] = m
		}
		return nil
	}
	if d != "" && have.link == "" && m.link == "" {
		return nil
	}
	same := have.link == m.link && have.size == m.size
	if same && m.link == "" {
		for _, x := range []*member{have, m} {
			if err := a.hash(ctx, x); err != nil {
				return err
			}
		}
		same = have.sum == m.sum
	}
	if !same {
		return fmt.Errorf("it has two different members called %s, and tools differ in which they take; the archive is damaged or hostile", m.name)
	}
	return nil
}

// lookup finds the file that a name stands for, through links.
func (a *archive) lookup(name string) (*member, error) {
	key, err := ocilayout.Within("archive", name)
	if err != nil {
		return nil, err
	}
	for range maxLinks {
		m := a.members[key]
		if m == nil {
			return nil, fmt.Errorf("%s is not in it: %w; the archive is incomplete, save the image again", key, pipeline.ErrNotFound)
		}
		if m.link == "" {
			return m, nil
		}
		key = m.link
	}
	return nil, fmt.Errorf("the links that start at %s go round in a circle; the archive is damaged or hostile", name)
}

// open reads a member from its start, unverified.
func (a *archive) open(ctx context.Context, m *member) io.Reader {
	if m.data != nil {
		return bytes.NewReader(m.data)
	}
	return a.section(ctx, m.off, m.size)
}

// read returns a member that holds JSON, within the limit.
func (a *archive) read(ctx context.Context, m *member) ([]byte, error) {
	if err := a.limits.CheckManifest(m.name, m.size); err != nil {
		return nil, err
	}
	raw := make([]byte, m.size)
	if _, err := io.ReadFull(a.open(ctx, m), raw); err != nil {
		return nil, fmt.Errorf("read %s: %w", m.name, noEOF(err))
	}
	return raw, nil
}

// hash computes a member's digest, once.
func (a *archive) hash(ctx context.Context, m *member) error {
	if m.sum != "" {
		return nil
	}
	h := digest.Canonical.Digester()
	n, err := io.CopyBuffer(h.Hash(), struct{ io.Reader }{a.open(ctx, m)}, make([]byte, bufferSize))
	if err == nil && n < m.size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", m.name, err)
	}
	m.sum = h.Digest()
	return nil
}

// noEOF makes an end of file what it is where more was promised.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
