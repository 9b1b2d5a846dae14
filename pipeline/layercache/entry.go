package layercache

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// pythonTime is how the Python tool writes times (datetime.isoformat, in UTC).
const pythonTime = "2006-01-02T15:04:05.000000-07:00"

// maxText bounds recipes and places, which come from a file.
const maxText = 4096

// members are those of an entry in the file that this program does not know: they
// are kept.
type members map[string]json.RawMessage

// take reads a member and removes it.
func (m members) take(key string, v any) error {
	raw, ok := m[key]
	if !ok {
		return fmt.Errorf("it has no %s", key)
	}
	delete(m, key)
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("its %s is no %T", key, v)
	}
	return nil
}

// with is m and what this program knows.
func (m members) with(known map[string]any) map[string]any {
	for k, v := range m {
		if _, ok := known[k]; !ok {
			known[k] = v
		}
	}
	return known
}

// parseTime reads a time. One that makes no sense, or lies in the future, would
// keep an entry for ever or never; it only says what is forgotten first.
func parseTime(s string, now time.Time) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	switch {
	case err != nil:
		return time.Time{}
	case t.After(now):
		return now
	}
	return t.UTC()
}

// A layer is an entry as the Python tool has them: the newest for its layer.
type layer struct {
	Digest      digest.Digest
	Size        int64
	MediaType   string
	FiltersHash string
	Time        time.Time
	other       members
}

func (l *layer) parse(raw json.RawMessage, now time.Time) error {
	if err := json.Unmarshal(raw, &l.other); err != nil {
		return errors.New("it is no object")
	}
	var stamp string
	err := errors.Join(
		l.other.take("compressed_digest", &l.Digest), l.other.take("compressed_size", &l.Size),
		l.other.take("media_type", &l.MediaType), l.other.take("filters_hash", &l.FiltersHash), l.other.take("timestamp", &stamp),
	)
	if err != nil {
		return err
	}
	l.Time = parseTime(stamp, now)
	return checkBlob(l.Digest, l.Size)
}

func (l layer) MarshalJSON() ([]byte, error) {
	return marshal(l.other.with(map[string]any{
		"compressed_digest": l.Digest, "compressed_size": l.Size, "media_type": l.MediaType,
		"filters_hash": l.FiltersHash, "timestamp": l.Time.UTC().Format(pythonTime),
	}))
}

// An outcomeKey tells outcomes apart.
type outcomeKey struct {
	layer  digest.Digest
	recipe string
}

// An outcome is what a layer became by a recipe.
type outcome struct {
	Layer          digest.Digest
	Recipe         string
	Digest         digest.Digest
	Size           int64
	MediaType      string
	DiffID         digest.Digest
	Place          string // "" where it is not known
	Recorded, Used time.Time
	other          members
}

func (o *outcome) parse(raw json.RawMessage, now time.Time) error {
	if err := json.Unmarshal(raw, &o.other); err != nil {
		return errors.New("it is no object")
	}
	var recorded, used string
	err := errors.Join(
		o.other.take("layer", &o.Layer), o.other.take("recipe", &o.Recipe), o.other.take("digest", &o.Digest),
		o.other.take("size", &o.Size), o.other.take("media_type", &o.MediaType), o.other.take("diff_id", &o.DiffID),
		o.other.take("recorded", &recorded), o.other.take("used", &used),
	)
	if err != nil {
		return err
	}
	if _, ok := o.other["place"]; ok {
		if err := o.other.take("place", &o.Place); err != nil {
			return err
		}
	}
	o.Recorded, o.Used = parseTime(recorded, now), parseTime(used, now)
	return o.check()
}

// check says what is wrong with an outcome.
func (o *outcome) check() error {
	switch {
	case o.Layer.Validate() != nil:
		return errors.New("its layer is no digest")
	case o.DiffID.Validate() != nil:
		return errors.New("its diff_id is no digest")
	case len(o.Recipe) > maxText || len(o.Place) > maxText:
		return errors.New("its recipe or place is too long")
	case pipeline.LayerCompression(o.MediaType) == "":
		return errors.New("its media_type is none of a layer")
	}
	return checkBlob(o.Digest, o.Size)
}

func checkBlob(d digest.Digest, size int64) error {
	switch {
	case d.Validate() != nil:
		return errors.New("its digest is none")
	case size <= 0:
		return errors.New("its size is not positive")
	}
	return nil
}

func (o outcome) MarshalJSON() ([]byte, error) {
	known := map[string]any{
		"layer": o.Layer, "recipe": o.Recipe, "digest": o.Digest, "size": o.Size, "media_type": o.MediaType, "diff_id": o.DiffID,
		"recorded": o.Recorded.UTC().Format(pythonTime), "used": o.Used.UTC().Format(pythonTime),
	}
	if o.Place != "" {
		known["place"] = o.Place
	}
	return marshal(o.other.with(known))
}

func (o *outcome) key() outcomeKey { return outcomeKey{o.Layer, o.Recipe} }

// same says whether another outcome adds nothing.
func (o *outcome) same(n outcome) bool {
	return o.Digest == n.Digest && o.Size == n.Size && o.DiffID == n.DiffID && o.MediaType == n.MediaType && (n.Place == "" || n.Place == o.Place)
}

func (o *outcome) cached() pipeline.CachedLayer {
	return pipeline.CachedLayer{
		Blob:        ocispec.Descriptor{Digest: o.Digest, Size: o.Size},
		Compression: pipeline.LayerCompression(o.MediaType), DiffID: o.DiffID, Place: o.Place,
	}
}

// newest are the entries of both, the newer where both have one.
func newest[K comparable, V any](to, from map[K]V, older func(a, b V) bool) {
	for k, v := range maps.All(from) {
		if was, ok := to[k]; !ok || !older(v, was) {
			to[k] = v
		}
	}
}
