package store

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"

	"github.com/occystrap/occystrap/pipeline/registry"
)

// Beside containerd's buckets are ours, in the same file:
//
//	occystrap/NAMESPACE/tags/TAG                  digest
//	occystrap/NAMESPACE/manifests/DIGEST          entry, as JSON
//	occystrap/NAMESPACE/referrers/SUBJECT DIGEST  nothing
//	occystrap/NAMESPACE/facts/KEY                 time, value (cache.db only)
//	occystrap/NAMESPACE/used/DIGEST               time (cache.db only)
//	occystrap.pins/NAMESPACE TAG-OR-DIGEST        time (meta.db only)
var (
	bucketOurs      = []byte("occystrap")
	bucketPins      = []byte("occystrap.pins")
	bucketTags      = []byte("tags")
	bucketManifests = []byte("manifests")
	bucketReferrers = []byte("referrers")
	bucketFacts     = []byte("facts")
	bucketUsed      = []byte("used")
)

// An entry is what is known of a manifest without reading it.
type entry struct {
	Desc    ocispec.Descriptor `json:"desc"` // as a list of referrers has it
	Subject digest.Digest      `json:"subject,omitempty"`
	Parts   []part             `json:"parts,omitempty"`
	Put     time.Time          `json:"put"`
}

// A part is what a manifest names: a blob, or a manifest in an index.
type part struct {
	Digest   digest.Digest `json:"digest"`
	Manifest bool          `json:"manifest,omitempty"`
	// Absent is what was not there when the manifest was put, or was deleted since: in a
	// sparse space, or a layer that lives elsewhere.
	Absent bool `json:"absent,omitempty"`
}

// entryOf describes a manifest.
func entryOf(m registry.Manifest, now time.Time) entry {
	e := entry{Desc: m.Desc, Put: now.UTC()}
	if m.Subject != nil {
		e.Subject = m.Subject.Digest
	}
	seen := map[digest.Digest]bool{}
	add := func(d ocispec.Descriptor, manifest bool) {
		if !seen[d.Digest] {
			seen[d.Digest] = true
			e.Parts = append(e.Parts, part{Digest: d.Digest, Manifest: manifest})
		}
	}
	for _, d := range m.Blobs {
		add(d, false)
	}
	for _, d := range m.Entries {
		add(d, true)
	}
	return e
}

// ours is a bucket of ours in a namespace; nil where nothing was put.
func ours(tx *bbolt.Tx, ns string, name []byte) *bbolt.Bucket {
	b := tx.Bucket(bucketOurs)
	if b == nil {
		return nil
	}
	if b = b.Bucket([]byte(ns)); b == nil {
		return nil
	}
	return b.Bucket(name)
}

// makeOurs makes it if need be.
func makeOurs(tx *bbolt.Tx, ns string, name []byte) (*bbolt.Bucket, error) {
	b, err := tx.CreateBucketIfNotExists(bucketOurs)
	if err != nil {
		return nil, fmt.Errorf("make a bucket: %w", err)
	}
	if b, err = b.CreateBucketIfNotExists([]byte(ns)); err != nil {
		return nil, fmt.Errorf("make a bucket: %w", err)
	}
	return b.CreateBucketIfNotExists(name)
}

// get reads a value; nil where there is none.
func get(tx *bbolt.Tx, ns string, bucket []byte, key string) []byte {
	b := ours(tx, ns, bucket)
	if b == nil {
		return nil
	}
	return b.Get([]byte(key))
}

// set writes a value.
func set(tx *bbolt.Tx, ns string, bucket []byte, key string, value []byte) error {
	b, err := makeOurs(tx, ns, bucket)
	if err != nil {
		return err
	}
	return b.Put([]byte(key), value)
}

// unset deletes a value.
func unset(tx *bbolt.Tx, ns string, bucket []byte, key string) error {
	b := ours(tx, ns, bucket)
	if b == nil {
		return nil
	}
	return b.Delete([]byte(key))
}

// readEntry reads what is known of a manifest.
func readEntry(tx *bbolt.Tx, ns string, d digest.Digest) (entry, bool, error) {
	raw := get(tx, ns, bucketManifests, d.String())
	if raw == nil {
		return entry{}, false, nil
	}
	var e entry
	if err := json.Unmarshal(raw, &e); err != nil {
		return e, false, fmt.Errorf("read what is known of manifest %s: %w", d, err)
	}
	return e, true, nil
}

// writeEntry writes down what is known of a manifest.
func writeEntry(tx *bbolt.Tx, ns string, e entry) error {
	raw, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode an entry: %w", err)
	}
	return set(tx, ns, bucketManifests, e.Desc.Digest.String(), raw)
}

// referrerKey is a key in the bucket of referrers.
func referrerKey(subject, d digest.Digest) string { return subject.String() + " " + d.String() }

// stamp and unstamp write times that sort.
func stamp(t time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(t.UnixNano()))
}

func unstamp(b []byte) time.Time {
	if len(b) < stampSize {
		return time.Time{}
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(b)))
}

const stampSize = 8
