// Package graphdriver reads images out of the files of a Docker daemon that keeps
// them by its overlay2 graph driver, without the daemon's help, and never writes
// there.
//
//	image/overlay2/imagedb/content/sha256/ID ─▶ config, checked by its ID
//	image/overlay2/layerdb/sha256/CHAIN/     ─▶ diff ID, cache ID, tar-split.json.gz
//	overlay2/CACHE-ID/diff                   ─▶ contents of files
//	tar-split + contents ─▶ the layer's tar ─▶ hash ─▶ reader
//
// Docker unpacks a layer when it gets it, and keeps what an unpacked tree lacks of
// the tar (headers, padding, the order of entries) as tar-split. Both together are
// the very tar that the diff ID stands for, and it is checked before anyone sees
// its end. Layers are read at once, each with its hash beside it.
//
// A Store reads the files; a Lane is what docker:// chooses. A user who may not
// read them gets a Depot of a Lender, the sidecar, which reads with a Store.
package graphdriver
