package filter

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// Config rewrites created and history[].created of an image config, where they
// are and config=true. All other bytes stay.
func (n *normalize) Config(_ context.Context, _ ocispec.Descriptor, config []byte) ([]byte, error) {
	return n.configAbove(config, 0)
}

// configAbove is Config that leaves the first entries of the history alone.
func (n *normalize) configAbove(config []byte, entries int) ([]byte, error) {
	if !n.config {
		return config, nil
	}
	out, err := pipeline.EditJSON(config, func(o *pipeline.Object) error {
		if err := n.created(o); err != nil {
			return err
		}
		return n.history(o, entries)
	})
	if err != nil {
		return nil, fmt.Errorf("normalize times of the image config: %w", err)
	}
	return out, nil
}

// created gives an object's member of that name the wanted time. In clamp mode
// one that is no time stays: it cannot be later.
func (n *normalize) created(o *pipeline.Object) error {
	raw := o.Get("created")
	if raw == nil || string(raw) == "null" {
		return nil
	}
	var t time.Time
	if isTime := json.Unmarshal(raw, &t) == nil; n.clamp && (!isTime || !n.late(t)) {
		return nil
	}
	return o.Set("created", n.ts.Format(time.RFC3339))
}

// history gives the entries of the history the wanted time, but for the first
// ones.
func (n *normalize) history(o *pipeline.Object, but int) error {
	raw := o.Get("history")
	if raw == nil || string(raw) == "null" {
		return nil
	}
	at := 0
	out, err := eachElement(raw, func(item []byte) ([]byte, error) {
		if at++; at <= but {
			return item, nil
		}
		return pipeline.EditJSON(item, n.created)
	})
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return o.Set("history", json.RawMessage(out))
}

// eachElement replaces each element of a JSON array by what edit makes of it,
// and keeps all that stands between them.
func eachElement(raw []byte, edit func([]byte) ([]byte, error)) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return nil, fmt.Errorf("not a JSON array")
	}
	var out []byte
	at := 0
	for d.More() {
		var item json.RawMessage
		if err := d.Decode(&item); err != nil {
			return nil, err
		}
		end := int(d.InputOffset())
		is, err := edit(item)
		if err != nil {
			return nil, err
		}
		out = append(append(out, raw[at:end-len(item)]...), is...)
		at = end
	}
	return append(out, raw[at:]...), nil
}
