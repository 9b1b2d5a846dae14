package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
)

// A Fault is something in a store that is not as it should be.
type Fault struct {
	// Kind is one of the Kinds below.
	Kind string `json:"kind"`
	// Space and Repository are where; "" for files.
	Space      string `json:"space,omitempty"`
	Repository string `json:"repository,omitempty"`
	// Name is the digest or tag, or a file below the store's directory.
	Name string `json:"name"`
	// Text is a sentence for the user; Repair adds what it did.
	Text string `json:"text"`
	// Mended says that Repair has put it right.
	Mended bool `json:"mended"`
}

// The kinds of faults.
const (
	Damaged    = "damaged"    // bytes that do not have their digest, or their size
	Missing    = "missing"    // a file that is recorded and not there
	Incomplete = "incomplete" // a manifest, of which something is not there
	Dangling   = "dangling"   // a tag or a referrer that leads nowhere
	Orphan     = "orphan"     // a file that nothing records
)

// Verify reads all bytes and looks at all records, and reports what is wrong, if
// anything is. It changes nothing. What goes on meanwhile is not disturbed.
func (s *Store) Verify(ctx context.Context, report func(Fault)) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	if _, err := s.sweep(ctx); err != nil { // which is no fault, but may not have been done yet
		return err
	}
	m, err := s.lookAt(ctx)
	if err != nil {
		return err
	}
	bad, err := s.readAll(ctx, m, report)
	if err != nil {
		return err
	}
	for _, r := range m.repos {
		for _, f := range r.faults(bad) {
			if s.still(ctx, r, f) {
				report(f)
			}
		}
	}
	return s.orphans(ctx, report)
}

// readAll compares all files with their digests, and returns those that are bad.
func (s *Store) readAll(ctx context.Context, m *model, report func(Fault)) (map[digest.Digest]bool, error) {
	bad := map[digest.Digest]bool{}
	for _, d := range slices.Sorted(maps.Keys(m.sizes)) {
		kind, err := s.check(ctx, d, m.sizes[d])
		if err != nil {
			return nil, err
		}
		if kind == "" {
			continue
		}
		if now, err := s.settled(ctx); err != nil {
			return nil, err
		} else if !now[d] {
			continue // it was removed, as is right
		}
		if kind, err = s.check(ctx, d, m.sizes[d]); err != nil {
			return nil, err
		} else if kind == "" {
			continue // and came again
		}
		bad[d] = true
		text := fmt.Sprintf("blob %s has not the bytes of its digest", d)
		if kind == Missing {
			text = fmt.Sprintf("blob %s is recorded, and its file is not there", d)
		}
		report(Fault{Kind: kind, Name: d.String(), Text: text})
	}
	return bad, nil
}

// check reads one file; "" is that it is right.
func (s *Store) check(ctx context.Context, d digest.Digest, size int64) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	f, err := s.files.open(d)
	if errors.Is(err, pipeline.ErrNotFound) {
		return Missing, nil
	}
	if err != nil {
		return "", fmt.Errorf("verify blob %s: %w", d, err)
	}
	defer f.Close()
	sum := d.Algorithm().Digester()
	n, err := io.Copy(sum.Hash(), &stopping{ctx, f})
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil || n != size || sum.Digest() != d { // what cannot be read is damaged
		return Damaged, nil
	}
	return "", nil
}

// stopping reads until the context ends.
type stopping struct {
	ctx context.Context //nolint:containedctx // io.Reader has none
	r   io.Reader
}

func (s *stopping) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}

// faults are those of a repository's records, given which blobs are bad.
func (r *repo) faults(bad map[digest.Digest]bool) []Fault {
	var list []Fault
	add := func(kind, name, text string) {
		list = append(list, Fault{Kind: kind, Space: r.space, Repository: r.repository, Name: name, Text: text})
	}
	for _, d := range slices.Sorted(maps.Keys(r.manifests)) {
		if lack := r.lacks(d, bad); lack != "" {
			add(Incomplete, d.String(), fmt.Sprintf("manifest %s of %s/%s needs %s, which is missing or damaged", d, r.space, r.repository, lack))
		}
	}
	for _, t := range slices.Sorted(maps.Keys(r.tags)) {
		if _, there := r.manifests[r.tags[t]]; !there {
			add(Dangling, t, fmt.Sprintf("tag %s of %s/%s leads to %s, which is not there", t, r.space, r.repository, r.tags[t]))
		}
	}
	return list
}

// lacks is what a manifest needs and does not have; "" is nothing.
func (r *repo) lacks(d digest.Digest, bad map[digest.Digest]bool) digest.Digest {
	if !r.blobs[d] || bad[d] {
		return d
	}
	for _, p := range r.manifests[d].Parts {
		_, manifest := r.manifests[p.Digest]
		switch {
		case !r.blobs[p.Digest] && p.Absent:
		case !r.blobs[p.Digest], bad[p.Digest]:
			return p.Digest
		case manifest && p.Digest != d:
			if lack := r.lacks(p.Digest, bad); lack != "" {
				return lack
			}
		}
	}
	return ""
}

// still says whether a fault of a repository is one even now: it may have changed since
// it was looked at.
func (s *Store) still(ctx context.Context, old *repo, f Fault) bool {
	m, err := s.model(ctx)
	if err != nil {
		return true
	}
	for _, r := range m.repos {
		if r.base == old.base && r.ns == old.ns {
			_, manifest := r.manifests[digest.Digest(f.Name)]
			_, tag := r.tags[f.Name]
			return manifest || tag
		}
	}
	return false
}

// orphans reports files that have no business in the store: in place of blobs, those
// that nothing records and that a sweep does not remove.
func (s *Store) orphans(ctx context.Context, report func(Fault)) error {
	recorded, err := s.recorded(ctx)
	if err != nil {
		return err
	}
	strange := map[string]fs.FileInfo{}
	if err := s.files.each(func(path string, d digest.Digest, _ int64) error {
		if info, err := os.Lstat(path); err == nil && (d == "" || !recorded[d]) {
			strange[path] = info
		}
		return ctx.Err()
	}); err != nil {
		return fmt.Errorf("look for orphans: %w", err)
	}
	if len(strange) > 0 {
		if _, err := s.sweep(ctx); err != nil {
			return err
		}
		if recorded, err = s.settled(ctx); err != nil {
			return err
		}
	}
	for _, path := range slices.Sorted(maps.Keys(strange)) {
		d := digest.NewDigestFromEncoded(digest.Algorithm(filepath.Base(filepath.Dir(path))), filepath.Base(path))
		if info, err := os.Lstat(path); err == nil && os.SameFile(info, strange[path]) && !recorded[d] {
			s.reportFile(path, "nothing records it", report)
		}
	}
	entries, err := os.ReadDir(s.uploads.dir)
	for _, e := range entries {
		if !isUpload(e.Name()) && !strings.HasPrefix(e.Name(), manifestPrefix) {
			s.reportFile(filepath.Join(s.uploads.dir, e.Name()), "it is no upload", report)
		}
	}
	return err
}

func (s *Store) reportFile(path, why string, report func(Fault)) {
	name, err := filepath.Rel(s.dir, path)
	if err != nil {
		name = path
	}
	report(Fault{Kind: Orphan, Name: filepath.ToSlash(name), Text: "file " + name + " has no business in the store: " + why})
}

// settled is what is recorded once nothing is half made.
func (s *Store) settled(ctx context.Context) (map[digest.Digest]bool, error) {
	s.making.Lock()
	defer s.making.Unlock()
	return s.recorded(ctx)
}
