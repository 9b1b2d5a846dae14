package store

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"
)

// neededBy is the first manifest of a namespace that names a blob or another manifest,
// and whether there is one.
func neededBy(tx *bbolt.Tx, ns string, d digest.Digest) (by entry, needed bool, err error) {
	err = naming(tx, ns, d, func(e entry) error {
		if !needed {
			by, needed = e, true
		}
		return nil
	})
	return by, needed, err
}

// markAbsent notes with all manifests of a namespace that name something that it is not
// there.
func markAbsent(tx *bbolt.Tx, ns string, d digest.Digest) error {
	var all []entry // a bucket that is read is not written to
	if err := naming(tx, ns, d, func(e entry) error { all = append(all, e); return nil }); err != nil {
		return err
	}
	for _, e := range all {
		for i := range e.Parts {
			e.Parts[i].Absent = e.Parts[i].Absent || e.Parts[i].Digest == d
		}
		if err := writeEntry(tx, ns, e); err != nil {
			return err
		}
	}
	return nil
}

// naming calls fn for all manifests of a namespace that name something.
func naming(tx *bbolt.Tx, ns string, d digest.Digest, fn func(entry) error) error {
	return each(tx, ns, bucketManifests, func(k, v []byte) error {
		var e entry
		if err := json.Unmarshal(v, &e); err != nil {
			return fmt.Errorf("read what is known of manifest %s: %w", k, err)
		}
		if !slices.ContainsFunc(e.Parts, func(p part) bool { return p.Digest == d }) {
			return nil
		}
		return fn(e)
	})
}
