// Package pipeline moves container images from one place to another and
// changes them on the way.
//
// It holds the vocabulary (Source, Graph, Manifest, Layer, Filter, Sink) and
// the engine (Run). Where images live is the business of the packages below
// scheme/, what changes them of package filter; this package imports neither.
//
//	Source ─▶ Graph ─▶ layers, at once ─▶ filters ─▶ Sink
//	            └────▶ manifests, last, with the new digests ─▶ Sink
//
// Nothing here logs or prints: errors are returned and events are emitted.
package pipeline
