package lanes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"

	"github.com/occystrap/occystrap/pipeline"
)

// A catalog is what containerd's database said at one moment.
type catalog struct {
	at     uint64 // the transaction
	spaces map[string]space

	mu      sync.Mutex        // of what follows
	reached map[subject]grant // what images were found to reach
}

// A space is a namespace.
type space struct {
	images map[digest.Digest]string // targets of names, and their media types
	blobs  map[digest.Digest]bool   // those that the namespace has
	// referrers are what containerd keeps with a manifest because it refers to it.
	referrers map[digest.Digest][]digest.Digest
	// repositories are the names without tag and digest, each with the images
	// under it: by tag, or by digest for a name without a tag.
	repositories map[string]map[string]digest.Digest
}

// catalog returns what the database says now. It is read again only when it has
// changed.
func (s *store) catalog(ctx context.Context) (*catalog, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := openBeneath(s.Root, metadataFolder, metadataFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no containerd keeps its images in %s: %w", s.Root, pipeline.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("open containerd's database: %w", err)
	}
	defer f.Close()
	if s.last != nil {
		if now, err := newest(f); err == nil && now.transaction == s.last.at {
			return s.last, nil
		}
	}
	image, at, err := snapshot(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("read containerd's database in %s: %w", s.Root, err)
	}
	defer image.Close()
	read, err := readCatalog(image, s.Namespaces)
	if err != nil {
		return nil, fmt.Errorf("read containerd's database in %s: %w", s.Root, err)
	}
	read.at = at
	s.last = read
	return read, nil
}

// readCatalog reads a copy of the database.
func readCatalog(image *os.File, namespaces []string) (read *catalog, err error) {
	// bbolt trusts what it maps. A copy that were torn, or a database that is
	// damaged, shall cost one answer and not the sidecar.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			read, err = nil, fmt.Errorf("it is damaged: %v", r)
		}
	}()
	opened := func(string, int, os.FileMode) (*os.File, error) { return duplicate(image) }
	db, err := bbolt.Open(image.Name(), 0, &bbolt.Options{ReadOnly: true, NoStatistics: true, OpenFile: opened})
	if err != nil {
		return nil, err
	}
	read = &catalog{spaces: map[string]space{}}
	err = db.View(func(tx *bbolt.Tx) error {
		for _, name := range namespaces {
			read.spaces[name] = readSpace(tx, name)
		}
		return nil
	})
	return read, errors.Join(err, db.Close())
}

// readSpace reads a namespace. Names of buckets: containerd,
// core/metadata/buckets.go, which has not changed since its version 1.
func readSpace(tx *bbolt.Tx, name string) space {
	s := space{
		images: map[digest.Digest]string{}, blobs: map[digest.Digest]bool{}, referrers: map[digest.Digest][]digest.Digest{},
		repositories: map[string]map[string]digest.Digest{},
	}
	each(bucket(tx, "v1", name, "images"), func(image *bbolt.Bucket, key []byte) {
		target := image.Bucket([]byte("target"))
		if target == nil {
			return
		}
		if d := digest.Digest(target.Get([]byte("digest"))); d.Validate() == nil {
			s.images[d] = string(target.Get([]byte("mediatype")))
			s.name(string(key), d)
		}
	})
	each(bucket(tx, "v1", name, "content", "blob"), func(blob *bbolt.Bucket, key []byte) {
		if d := digest.Digest(key); d.Validate() == nil {
			s.blobs[d] = true
			s.keep(d, blob.Bucket([]byte("labels")))
		}
	})
	return s
}

// labelReferrer begins the labels by which containerd keeps what refers to a manifest
// (core/images, ChildGCLabels), since its version 2.2; a piece of the digest follows.
const labelReferrer = "containerd.io/gc.ref.content.referrer."

// keep notes what containerd keeps with a blob, by its labels; nil where it has none.
func (s *space) keep(d digest.Digest, labels *bbolt.Bucket) {
	if labels == nil {
		return
	}
	c := labels.Cursor()
	for k, v := c.Seek([]byte(labelReferrer)); strings.HasPrefix(string(k), labelReferrer); k, v = c.Next() {
		if referrer := digest.Digest(v); referrer.Validate() == nil {
			s.referrers[d] = append(s.referrers[d], referrer)
		}
	}
}

// name notes an image's name, as HOST/PATH:TAG, HOST/PATH@DIGEST or both.
func (s *space) name(name string, d digest.Digest) {
	repository, _, pinned := strings.Cut(name, "@")
	tag := d.String()
	if colon := strings.LastIndexByte(repository, ':'); colon > strings.LastIndexByte(repository, '/') {
		if !pinned {
			tag = repository[colon+1:]
		}
		repository = repository[:colon]
	}
	if s.repositories[repository] == nil {
		s.repositories[repository] = map[string]digest.Digest{}
	}
	s.repositories[repository][tag] = d
}

// bucket goes down a path; nil where it ends.
func bucket(tx *bbolt.Tx, path ...string) *bbolt.Bucket {
	b := tx.Bucket([]byte(path[0]))
	for _, name := range path[1:] {
		if b == nil {
			return nil
		}
		b = b.Bucket([]byte(name))
	}
	return b
}

// each calls do for the buckets in b, which may be nil.
func each(b *bbolt.Bucket, do func(inner *bbolt.Bucket, key []byte)) {
	if b == nil {
		return
	}
	_ = b.ForEachBucket(func(key []byte) error { // do gives no error
		do(b.Bucket(key), slices.Clone(key))
		return nil
	})
}
