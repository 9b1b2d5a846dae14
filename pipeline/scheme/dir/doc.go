// Package dir reads and writes images in directories: dir://DIR holds plain
// layers as the Python tool laid them out, dir://DIR?format=oci is an OCI image
// layout. Both hold many images that share layers, and may be written by several
// programs at once.
//
//	plain   HEX.json (config)   HEX/layer.tar   manifest[-NAME-TAG].json   catalog.json
//	oci     oci-layout          blobs/sha256/HEX                           index.json
//
//	source ─▶ source.go ─▶ plain.go | layout.go ─▶ content.go (verified) ─▶ pipeline.Resolve
//	sink   ─▶ session.go (temporary names) ─▶ Publish, locked: blobs, manifests, catalog last
//
// Every file is reached through an os.Root: no name in a manifest and no symbolic
// link in the directory leads out of it.
package dir
