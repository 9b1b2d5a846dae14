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

// RecompressOption is an option of every scheme as a destination, and of every
// filter that changes layers.
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

// recompress is how the run's layers are compressed: a filter's word counts
// before the destination's, and canonical before transcode, since who asks for
// it wants to rely on the bytes.
func recompress(filters []Filter, opt Recompress) Recompress {
	mode := Recompress("")
	for _, f := range filters {
		switch r := f.Recipe().Recompress; {
		case r == "", mode == RecompressCanonical, mode != "" && r == RecompressAuto:
		default:
			mode = r
		}
	}
	switch {
	case mode != "":
		return mode
	case opt != "":
		return opt
	}
	return RecompressAuto
}

// recipe is what a run does to layers, so that equal recipes turn equal layers
// into equal layers.
func recipe(filters []Filter, mode Recompress) string {
	var keys []string
	for _, f := range filters {
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
