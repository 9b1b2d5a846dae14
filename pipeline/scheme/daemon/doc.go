// Package daemon moves images out of and into a container daemon that speaks
// the Docker Engine API: Docker with either image store, and Podman.
//
//	docker://NAME ─▶ inspect ─▶ GET /images/get  ─▶ tarball.OpenStream ─▶ Graph
//	Layers ─▶ tarball.NewStreamSink ─▶ POST /images/load ─▶ inspect ─▶ tag
//
// Both ways are streams: layers are processed while the rest still comes, and a
// few of them wait in temporary files. Reading and writing the archives is the
// business of package tarball; the ways into and out of a daemon are lanes, of
// which this package has two.
package daemon
