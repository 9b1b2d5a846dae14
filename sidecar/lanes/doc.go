// Package lanes is the sidecar's side of the control socket: it reads Docker's
// and containerd's files for users who may talk to Docker but are not root. Of
// all privileges it needs one, to read what root reads (CAP_DAC_READ_SEARCH); it
// writes nothing, opens no port and talks to no daemon.
//
//	connection ─▶ who is it (SO_PEERCRED)? ─▶ hello ─▶ blob  ─▶ catalog, grant ─▶ descriptor
//	                                               └▶ layer ─▶ Reader         ─▶ pipe
//
// What may be lent is found from what the engine has: containerd's own database
// (catalog.go) says which images and blobs a namespace has, and the blobs that an
// image reaches are found by walking its manifests (grant.go). Nothing of what a
// caller sends becomes a path but a digest that was found so.
//
// Listeners, configuration and the end of an idle sidecar are package sidecar's;
// the messages are those of plugin/control/wire, the client is plugin/control.
package lanes
