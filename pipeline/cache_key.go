package pipeline

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// tarVersion is that of how changed headers are written (package tarstream): part
// of a recipe, since another version may write others.
const tarVersion = "tar/1"

// maxRecipe bounds the recipes of a cache. Of a longer one a digest stands for
// the end.
const maxRecipe = 2048

// A cacheKey is a CacheKey, and how its outcome is to be understood.
//
//	kept       the filters leave a layer of this diff ID alone: it is its own outcome
//	canonical  bytes made anew, which depend on the diff ID alone
//	transcode  bytes that depend on those that came
type cacheKey struct {
	CacheKey
	kept    bool
	changed bool // the outcome counts where it has another diff ID
}

// cacheKeys are the keys under which what becomes of a layer can be known, the
// best first. They are such that a run with a cache comes to the same bytes as one
// without.
func (t *transfer) cacheKeys(s knownSource, filtered bool) (keys []cacheKey) {
	enc := t.plan.encoding(s.came, t.layer.Stored)
	recoded := madeAnew(s.came, enc)
	if !filtered && !recoded {
		return nil
	}
	upon, ok := t.upon()
	if !ok {
		return nil
	}
	add := func(layer digest.Digest, how string, k cacheKey) {
		k.CacheKey = CacheKey{Layer: layer, Recipe: t.cacheRecipe(how, upon), Compression: enc.Compression.Writable(), SameTar: t.run.lastEdit < 0}
		keys = append(keys, k)
	}
	if !recoded {
		add(s.diffID, asItCame, cacheKey{kept: true})
	}
	if recoded || t.compressesAnew() {
		add(s.diffID, canonicalHow(enc), cacheKey{changed: !recoded})
		if recoded && t.run.lastEdit < 0 && t.layer.Blob.Digest != s.diffID { // the original keyed what came from registries so
			add(t.layer.Blob.Digest, canonicalHow(enc), cacheKey{})
		}
		return keys
	}
	add(t.layer.Blob.Digest, transcodeHow(enc), cacheKey{})
	return keys
}

// outcomeKey is the key under which cacheKeys will look for what a layer became.
func (t *transfer) outcomeKey(s knownSource, out CachedLayer) (CacheKey, bool) {
	upon, ok := t.upon()
	if !ok {
		return CacheKey{}, false
	}
	k := CacheKey{Layer: s.diffID, Compression: out.Compression, SameTar: t.run.lastEdit < 0}
	switch recoded := madeAnew(t.came, t.enc); {
	case !recoded && out.Blob.Digest == t.layer.Blob.Digest:
		k.Recipe = t.cacheRecipe(asItCame, upon)
	case recoded, t.compressesAnew():
		k.Recipe = t.cacheRecipe(canonicalHow(t.enc), upon)
	default:
		k.Layer, k.Recipe = t.layer.Blob.Digest, t.cacheRecipe(transcodeHow(t.enc), upon)
	}
	return k, true
}

// madeAnew says whether a layer is compressed anew, changed or not.
func madeAnew(came Compression, enc Encoding) bool { return enc.Anew || enc.Compression != came }

// compressesAnew says whether every layer that changes is, whatever it is.
func (t *transfer) compressesAnew() bool { return t.mode == RecompressCanonical || t.run.content }

const asItCame = "as it came"

func canonicalHow(e Encoding) string {
	return canonicalVersion + " " + compressor(e)
}

func transcodeHow(e Encoding) string {
	return transcodeVersion + "," + canonicalVersion + " " + compressor(e)
}

// compressor is a compression with its level.
func compressor(e Encoding) string {
	if e.Level == 0 {
		return string(e.Compression.Writable())
	}
	return fmt.Sprintf("%s:%d", e.Compression.Writable(), e.Level)
}

// cacheRecipe is what the filters that do something to the layer do, and how it
// is stored then. Whoever only looks is no part of it.
func (t *transfer) cacheRecipe(how, upon string) string {
	var parts []string
	for _, f := range t.joined {
		if _, looks := f.(Watcher); !looks {
			parts = append(parts, strings.NewReplacer(`\`, `\\`, `|`, `\|`).Replace(f.Recipe().Key))
		}
	}
	if len(parts) > 0 {
		parts = append(parts, tarVersion)
	}
	if len(parts) > 0 && t.layer.Base != "" {
		parts = append(parts, "of the base")
	}
	if upon != "" {
		parts = append(parts, "upon "+upon)
	}
	recipe := strings.Join(append(parts, how), " | ")
	if len(recipe) > maxRecipe {
		recipe = strings.ToValidUTF8(recipe[:maxRecipe/2], "") + "… " + digest.FromString(recipe).String()
	}
	return recipe
}

// upon names the layers below where a filter looks at them; false where it does
// and they are not known.
func (t *transfer) upon() (string, bool) {
	below := slices.ContainsFunc(t.joined, func(f LayerFilter) bool { return f.Recipe().Below })
	switch {
	case !below:
		return "", true
	case t.layer.Role != FileSystem:
		return "", false
	}
	var b strings.Builder
	for _, p := range t.layer.Parents {
		if p.DiffID == "" {
			return "", false
		}
		fmt.Fprintf(&b, "%s %s ", p.DiffID, p.Foreign)
	}
	if b.Len() == 0 {
		return "nothing", true
	}
	return digest.FromString(b.String()).Encoded()[:32], true
}

// leftAlone says whether a filter returned next itself. Two handlers of a type
// that cannot be compared are not the same.
func leftAlone(h, next tarstream.Handler) bool {
	return reflect.TypeOf(h) == reflect.TypeOf(next) && reflect.ValueOf(h).Comparable() && reflect.ValueOf(next).Comparable() && h == next
}
