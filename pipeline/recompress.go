package pipeline

import "strings"

// Recompress says how a compressed layer that a filter changed is compressed
// again. The diff ID is the same either way.
type Recompress string

const (
	// RecompressAuto is canonical where a filter is there to make builds equal
	// (Recipe.Reproducible), else transcode. It stands for "".
	RecompressAuto Recompress = "auto"
	// RecompressCanonical compresses anew, so that the bytes depend on the
	// content alone, whatever compressed it before.
	RecompressCanonical Recompress = "canonical"
	// RecompressTranscode edits the compressed stream where that can be done, and
	// compresses anew where it cannot.
	RecompressTranscode Recompress = "transcode"
)

// ParseRecompress reads an option's value; "" stays "".
func ParseRecompress(s string) (Recompress, error) {
	switch r := Recompress(strings.ToLower(s)); r {
	case "", RecompressAuto, RecompressCanonical, RecompressTranscode:
		return r, nil
	}
	return "", Usage("the option recompress is %q; it takes auto, canonical or transcode", s)
}

// RecompressOption is an option of schemes as destinations, and of filters that
// change layers.
var RecompressOption = Option{
	Name: "recompress", Sink: true,
	Help: "how changed layers are compressed: transcode (edit the compressed stream), canonical (compress anew, so that equal files make equal bytes) or auto (default)",
}

// The versions of what makes compressed bytes: part of a recipe, since another
// version may make others.
const (
	transcodeVersion = "transcode/1"
	canonicalVersion = "canonical/1"
)

// recompress is how a layer is compressed that a filter changed. What a filter
// was told counts before what the destination was told, that before the user's
// word for the whole run; among filters canonical counts first, since who asks
// for it wants to rely on the bytes.
func (r *run) recompress(e Encoding) Recompress {
	mode, reproducible := Recompress(""), false
	for _, f := range r.chain {
		recipe := f.Recipe()
		reproducible = reproducible || recipe.Reproducible
		switch m := recipe.Recompress; {
		case m == "", mode == RecompressCanonical, mode != "" && m == RecompressAuto:
		default:
			mode = m
		}
	}
	for _, m := range []Recompress{e.Recompress, r.opts.Recompress, RecompressAuto} {
		if mode == "" {
			mode = m
		}
	}
	switch {
	case mode != RecompressAuto:
		return mode
	case reproducible:
		return RecompressCanonical
	}
	return RecompressTranscode
}

// recipe is what the run does to a layer, so that equal recipes turn equal layers
// into equal layers: "" where no filter sees it and nobody says how it is stored.
func (r *run) recipe(mode Recompress, l Layer) string {
	var keys []string
	for _, f := range r.chain {
		keys = append(keys, f.Recipe().Key)
	}
	if r.opts.Storing.Compression != "" {
		keys = append(keys, r.opts.Storing.key())
	}
	if len(keys) == 0 {
		return ""
	}
	if l.Base != "" {
		keys = append(keys, "of the base")
	}
	versions := canonicalVersion
	if mode == RecompressTranscode {
		versions = transcodeVersion + "," + canonicalVersion
	}
	return strings.Join(append(keys, "recompress="+versions), " | ")
}
