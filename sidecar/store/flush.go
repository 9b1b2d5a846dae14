package store

import (
	"context"
	"time"

	"go.etcd.io/bbolt"
)

// flush writes down when manifests were used, for what orders them after a restart.
// Blobs are used with their manifests.
func (s *Store) flush(ctx context.Context) error {
	byPlace := map[place]map[string]time.Time{}
	for u, at := range s.uses.fresh() {
		if byPlace[u.place] == nil {
			byPlace[u.place] = map[string]time.Time{}
		}
		byPlace[u.place][u.d.String()] = at
	}
	if len(byPlace) == 0 {
		return nil
	}
	manifests := map[place][]string{}
	for _, base := range []*base{s.durable, s.cache} {
		if err := base.bolt.View(func(tx *bbolt.Tx) error {
			for p, used := range byPlace {
				for d := range used {
					if get(tx, p.namespace(), bucketManifests, d) != nil {
						manifests[p] = append(manifests[p], d)
					}
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	if len(manifests) == 0 {
		return nil
	}
	return s.cache.update(ctx, "", func(_ context.Context, tx *bbolt.Tx) error {
		for p, list := range manifests {
			for _, d := range list {
				if err := set(tx, p.namespace(), bucketUsed, d, stamp(byPlace[p][d])); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
