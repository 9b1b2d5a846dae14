package pipeline

import (
	"errors"
	"strings"
)

// Recompress says how a compressed layer that a filter changed is compressed
// again. The diff ID is the same either way.
type Recompress string

const (
	// RecompressAuto edits the compressed stream where that can be done, else
	// compresses anew. It stands for "".
	RecompressAuto Recompress = "auto"
	// RecompressCanonical compresses anew, so that the bytes depend on the
	// content alone, whatever compressed it before.
	RecompressCanonical Recompress = "canonical"
	// RecompressTranscode edits the compressed stream, and fails where a gzip or
	// zstd layer would have to be compressed anew.
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
	Help: "how changed layers are compressed: auto (edit the compressed stream where possible, default), transcode (fail elsewhere) or canonical (compress anew)",
}

// The versions of what makes compressed bytes: part of a recipe, since another
// version may make others.
const (
	transcodeVersion = "transcode/1"
	canonicalVersion = "canonical/1"
)

// errAnew is why a layer has to be compressed anew though transcode was asked
// for.
var errAnew = errors.New("recompress=transcode, but the layer would have to be compressed anew (recompress=auto allows that)")

// recompress is how a layer is compressed that a filter changed. A filter's word
// counts before the destination's, that before the user's for the whole run;
// among filters canonical counts first, since who asks for it wants to rely on
// the bytes.
func (r *run) recompress(e Encoding) Recompress {
	mode := Recompress("")
	for _, f := range r.filters {
		switch m := f.Recipe().Recompress; {
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
	return mode
}

// recipe is what the run does to a layer, so that equal recipes turn equal layers
// into equal layers: "" where no filter sees it.
func (r *run) recipe(mode Recompress) string {
	var keys []string
	for _, f := range r.chain {
		keys = append(keys, f.Recipe().Key)
	}
	if len(keys) == 0 {
		return ""
	}
	version := canonicalVersion
	if mode != RecompressCanonical {
		version = transcodeVersion + "," + canonicalVersion
	}
	return strings.Join(append(keys, "recompress="+string(mode)+":"+version), " | ")
}
