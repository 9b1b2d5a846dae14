// Package bundle writes an image as an OCI runtime bundle, which runc and crun
// start: oci://DIR.
//
//	rootfs/                 the file system: all layers, whiteouts applied
//	config.json             how to run it, made from the image's config
//	container-config.json   the image's config, byte for byte
//
//	layers ─▶ layerwriter.go (spooled, plain) ─▶ publish.go: unpack ─▶ internal/runtimespec ─▶ replace
//
// Nothing else stays: no layers, no manifest, no list. Unpacking is left to
// internal/rootfs, temporary names and locks to internal/staging.
package bundle
