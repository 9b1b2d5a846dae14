// Package sidecar is the face of occystrap on a socket, as package cliplugin is
// its face on a terminal: both drive the same package pipeline.
//
//	systemd ─▶ listen.go: listeners by name ─▶ gate.go: who is here, idle? ─▶ lanes
//	config.toml, flags ─▶ config.go                      └▶ notify.go ─▶ systemd
//
// One binary, occystrapd, has a subcommand for each daemon: they run as two
// units, since they trust different things. "lanes" is here (package lanes: the
// control socket); the filtering registry proxy, the blob and image store will
// stand beside it and share configuration, listeners and life cycle. The sidecar
// is a folder of its own because it lives long, answers strangers and holds
// credentials that it lends to nobody.
package sidecar
