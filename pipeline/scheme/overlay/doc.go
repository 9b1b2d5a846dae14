// Package overlay writes an image to a directory and mounts it there:
// mounts://DIR is dir://DIR, plain, with the layers unpacked one by one and
// overlayfs put upon them.
//
//	HEX/layer.tar  HEX.json  manifest.json  catalog.json      by scheme/dir
//	HEX/layer/           a layer as overlayfs wants it (build_linux.go)
//	rootfs/              where the image is mounted (place_linux.go)
//	delta/  working/     what is changed there, and what overlayfs needs for it
//	container-config.json  config.json (runtime_linux.go)
//
// The kernel itself makes the layers: each is unpacked into a mount of those below
// it that nobody else sees, with the layer's own directory on top. So whiteouts,
// opaque directories and files that a hard link takes from a lower layer are what
// this kernel takes for them, and the mounted tree is that of dir://?expand=true.
// No shell, no option string, no name of a layer reaches a mount (mount_linux.go).
package overlay
