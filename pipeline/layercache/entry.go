package layercache

import (
	"bytes"
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

// members are those of the file, or of an entry, that this program does not know:
// they are kept.
type members map[string]json.RawMessage

// with is known with the other members beside it.
func (m members) with(known any) (any, error) {
	if len(m) == 0 {
		return known, nil
	}
	text, err := json.Marshal(known)
	if err != nil {
		return nil, err
	}
	all := maps.Clone(m)
	return all, json.Unmarshal(text, &all)
}

// parseEntry reads an entry into known, a pointer to one of the forms below, and
// returns the members that it does not have. They are rare, so they are looked
// for only where there are some.
func parseEntry(raw json.RawMessage, known any) (other members, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if d.Decode(known) == nil {
		return nil, nil
	}
	if err := json.Unmarshal(raw, known); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && wrong.Field != "" {
			return nil, fmt.Errorf("its %s is a %s", wrong.Field, wrong.Value)
		}
		return nil, errors.New("it is no object")
	}
	if err := json.Unmarshal(raw, &other); err != nil {
		return nil, err
	}
	var names members
	text, err := json.Marshal(known)
	if err == nil {
		err = json.Unmarshal(text, &names)
	}
	for name := range names {
		delete(other, name)
	}
	return other, err
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
	// Recipe is that of the outcome which this program tells by it; "" in an entry
	// of the Python tool.
	Recipe string
	other  members
}

// layerForm is a layer in the file.
type layerForm struct {
	Digest      digest.Digest `json:"compressed_digest"`
	Size        int64         `json:"compressed_size"`
	MediaType   string        `json:"media_type"`
	FiltersHash string        `json:"filters_hash"`
	Time        string        `json:"timestamp"`
	Recipe      string        `json:"recipe,omitempty"`
}

func (l *layer) parse(raw json.RawMessage, now time.Time) (err error) {
	var f layerForm
	if l.other, err = parseEntry(raw, &f); err != nil {
		return err
	}
	if f.FiltersHash == "" {
		return errors.New("it has no filters_hash")
	}
	l.Digest, l.Size, l.MediaType, l.FiltersHash, l.Time = f.Digest, f.Size, f.MediaType, f.FiltersHash, parseTime(f.Time, now)
	l.Recipe = f.Recipe
	return checkBlob(l.Digest, l.Size)
}

func (l *layer) form() (any, error) {
	return l.other.with(layerForm{l.Digest, l.Size, l.MediaType, l.FiltersHash, l.Time.UTC().Format(pythonTime), l.Recipe})
}

// length is not more than what the layer takes in the file.
func (l *layer) length() int64 {
	const names = 64 + 130 // the digests, and the names of the members
	return int64(names + len(l.Digest) + len(l.MediaType) + len(l.FiltersHash) + len(pythonTime) + len(l.Recipe))
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

// outcomeForm is an outcome in the file.
type outcomeForm struct {
	Layer     digest.Digest `json:"layer"`
	Recipe    *string       `json:"recipe"`
	Digest    digest.Digest `json:"digest"`
	Size      int64         `json:"size"`
	MediaType string        `json:"media_type"`
	DiffID    digest.Digest `json:"diff_id"`
	Place     string        `json:"place,omitempty"`
	Recorded  string        `json:"recorded"`
	Used      string        `json:"used"`
}

func (o *outcome) parse(raw json.RawMessage, now time.Time) (err error) {
	var f outcomeForm
	if o.other, err = parseEntry(raw, &f); err != nil {
		return err
	}
	if f.Recipe == nil || f.Recorded == "" || f.Used == "" {
		return errors.New("it has no recipe, or no times")
	}
	o.Layer, o.Recipe, o.Digest, o.Size, o.MediaType, o.DiffID, o.Place = f.Layer, *f.Recipe, f.Digest, f.Size, f.MediaType, f.DiffID, f.Place
	o.Recorded, o.Used = parseTime(f.Recorded, now), parseTime(f.Used, now)
	return o.check()
}

func (o *outcome) form() (any, error) {
	return o.other.with(outcomeForm{
		o.Layer, &o.Recipe, o.Digest, o.Size, o.MediaType, o.DiffID, o.Place,
		o.Recorded.UTC().Format(pythonTime), o.Used.UTC().Format(pythonTime),
	})
}

// length is not more than what the outcome takes in the file.
func (o *outcome) length() int64 {
	const names = 150 // of the members, with their punctuation
	return int64(names + len(o.Layer) + len(o.Recipe) + len(o.Digest) + len(o.MediaType) + len(o.DiffID) + len(o.Place) + 2*len(pythonTime))
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
