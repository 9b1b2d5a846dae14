// Package check judges images: their manifests, configs and layers.
//
//	manifests, configs ─▶ metadata checks ──────────────────┐
//	layers, in any order ─▶ one pass each: what an entry    ├─▶ Report
//	        says, and a roll of names ─▶ checks of the tree ┘
//
// Run is the way in. The list of checks is Checks; a check that is about one
// entry stands in entry.go, one about the whole tree of an image in tree*.go. It
// prints nothing, and changes nothing.
package check
