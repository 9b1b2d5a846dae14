// Package daemon moves images out of and into a container daemon that speaks
// the Docker Engine API: Docker with either image store, and Podman.
//
//	docker://NAME ─▶ Meet ─▶ Place ─▶ choose a Lane ─▶ Source or Sink
//
//	save   GET /images/get  ─▶ tarball.OpenStream ─▶ Graph
//	push   POST /images/NAME/push ─▶ registry.Handler over an Inbox ─▶ Graph
//	load   Layers ─▶ tarball.NewStreamSink ─▶ POST /images/load ─▶ inspect ─▶ tag
//	pull   Layers ─▶ registry.Shelf ─▶ POST /images/create ─▶ inspect ─▶ tag
//
// The daemon is met once: what it is, and whether its files and its loopback are
// ours. Each Lane then says whether it fits; the first that works is taken. Lanes
// that need more than the Engine API live in plugin/ and are handed in. Reading and
// writing archives is the business of package tarball, serving a registry that of
// package registry.
package daemon
