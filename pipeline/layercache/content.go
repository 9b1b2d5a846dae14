package layercache

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// version is that of the file's format, as the Python tool counts.
const version = 1

// content is what a file says.
//
//	{"version": 1,
//	 "layers": {DIFFID: {…}},     the newest entry of each layer, for the Python tool
//	 "outcomes": [{…}, …]}        all recipes
type content struct {
	layers   map[digest.Digest]layer
	outcomes map[outcomeKey]outcome
	other    members
}

func newContent() *content {
	return &content{layers: map[digest.Digest]layer{}, outcomes: map[outcomeKey]outcome{}, other: members{}}
}

// decode reads a file, nil where there is none. Damage is all that could not be
// read; the rest counts.
func decode(raw []byte, now time.Time) (c *content, damage []error) {
	c = newContent()
	if raw == nil {
		return c, nil
	}
	if err := json.Unmarshal(raw, &c.other); err != nil || c.other == nil {
		c.other = members{}
		return c, []error{fmt.Errorf("it is no JSON object: %w", cmp.Or(err, errors.New("it is null")))}
	}
	if string(c.other["version"]) != strconv.Itoa(version) {
		c.other = members{}
		return c, []error{fmt.Errorf("its version is not %d", version)}
	}
	delete(c.other, "version")
	return c, append(c.decodeLayers(now), c.decodeOutcomes(now)...)
}

func (c *content) decodeLayers(now time.Time) (damage []error) {
	var entries map[string]json.RawMessage
	raw := c.other["layers"]
	delete(c.other, "layers")
	if err := json.Unmarshal(raw, &entries); err != nil || entries == nil {
		return []error{errors.New("its layers are no object")}
	}
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		d, err := layerDigest(key)
		var l layer
		if err == nil {
			err = l.parse(entries[key], now)
		}
		if err != nil {
			damage = append(damage, fmt.Errorf("an entry of layers: %w", err))
			continue
		}
		newest(c.layers, map[digest.Digest]layer{d: l}, olderLayer)
	}
	return damage
}

// layerDigest reads a key: later versions of the Python tool write no algorithm.
func layerDigest(key string) (digest.Digest, error) {
	if !strings.Contains(key, ":") {
		key = digest.SHA256.String() + ":" + key
	}
	if d := digest.Digest(key); d.Validate() == nil {
		return d, nil
	}
	return "", errors.New("its name is no digest")
}

func (c *content) decodeOutcomes(now time.Time) (damage []error) {
	raw, ok := c.other["outcomes"]
	if !ok { // the Python tool's
		return nil
	}
	delete(c.other, "outcomes")
	var entries []json.RawMessage
	if err := json.Unmarshal(raw, &entries); err != nil {
		return []error{errors.New("its outcomes are no list")}
	}
	for _, raw := range entries {
		var o outcome
		if err := o.parse(raw, now); err != nil {
			damage = append(damage, fmt.Errorf("an entry of outcomes: %w", err))
			continue
		}
		c.outcomes[o.key()] = o
	}
	return damage
}

func olderLayer(a, b layer) bool { return a.Time.Before(b.Time) }

// merge adds what a run has recorded and used. What was used is the file's entry
// of now, if it has one.
func (c *content) merge(fresh *content) {
	newest(c.layers, fresh.layers, olderLayer)
	newest(c.outcomes, fresh.outcomes, func(a, b outcome) bool { return a.Recorded.Before(b.Recorded) })
	for k, o := range fresh.outcomes {
		now := c.outcomes[k]
		if now.Used.Before(o.Used) {
			now.Used = o.Used
			c.outcomes[k] = now
		}
	}
}

func (c *content) encode() ([]byte, error) {
	layers, outcomes := make(map[digest.Digest]any, len(c.layers)), make([]any, 0, len(c.outcomes))
	var err error
	for d, l := range c.layers {
		if layers[d], err = l.form(); err != nil {
			return nil, err
		}
	}
	for _, o := range slices.SortedFunc(maps.Values(c.outcomes), byLayer) {
		form, err := o.form()
		if err != nil {
			return nil, err
		}
		outcomes = append(outcomes, form)
	}
	all := map[string]any{"version": version, "layers": layers, "outcomes": outcomes}
	for name, other := range c.other {
		all[name] = other
	}
	return marshal(all)
}

func byLayer(a, b outcome) int {
	return cmp.Or(cmp.Compare(a.Layer, b.Layer), cmp.Compare(a.Recipe, b.Recipe))
}

// within is the file, with no more than size bytes: what was not used for longest
// is forgotten, and a tenth more, so that not every run has to. Of what is equally
// old, what only the Python tool reads goes first.
func (c *content) within(size int64) ([]byte, error) {
	raw, err := c.encode()
	if err != nil || int64(len(raw)) <= size {
		return raw, err
	}
	type item struct {
		used   time.Time
		length int64
		forget func()
	}
	items := make([]item, 0, len(c.outcomes)+len(c.layers))
	for _, k := range slices.Sorted(maps.Keys(c.layers)) {
		l := c.layers[k]
		items = append(items, item{l.Time, l.length(), func() { delete(c.layers, k) }})
	}
	for _, o := range slices.SortedFunc(maps.Values(c.outcomes), byLayer) {
		items = append(items, item{o.Used, o.length(), func() { delete(c.outcomes, o.key()) }})
	}
	slices.SortStableFunc(items, func(a, b item) int { return a.used.Compare(b.used) })
	for excess := int64(len(raw)) - size + size/10; excess > 0 && len(items) > 0; items = items[1:] {
		items[0].forget()
		excess -= items[0].length
	}
	return c.encode()
}

// marshal is JSON as the Python tool writes it, with names as they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}
