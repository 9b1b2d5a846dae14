// Package layercache remembers in a file what layers became, so that a later run
// need not make them again. It is a pipeline.Cache.
//
//	Open ─▶ Lookup, Record … ─▶ Save: lock, read again, merge, write beside, rename
//
// Many programs may use one file. What it says is believed, so only its owner and
// root may be able to write it. Whether a destination still holds what a layer
// became is asked by package pipeline.
package layercache
