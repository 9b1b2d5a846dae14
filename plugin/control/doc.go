// Package control is the client of the sidecar's control socket: through it a
// user who may talk to Docker, but is not root, reads Docker's and containerd's
// files.
//
//	Blob  ─▶ sidecar: does an image that the engine has reach it? ─▶ descriptor
//	Layer ─▶ sidecar: tar-split and overlay2, diff ID checked     ─▶ pipe
//
// What it returns is to be verified like everything from outside: a blob by its
// digest, a layer by its diff ID. Without a sidecar every method fails with
// ErrAbsent; the callers then take their next best lane. The messages are those
// of package wire, the other end is sidecar/lanes.
package control
