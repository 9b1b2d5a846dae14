// Package layers is the lane of that name out of docker://: images of Docker's
// overlay2 graph driver, read from the daemon's files by package graphdriver.
//
//	daemon: what is the image's ID? ─▶ Depot (our own Store, or the sidecar's) ─▶ Graph
//
// The daemon says which image is meant; its files say what is in it, and are
// believed because every digest is checked.
package layers
