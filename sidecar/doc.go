// Package sidecar is the face of occystrap on a socket, as package cliplugin is
// its face on a terminal: both drive the same package pipeline.
//
// It is empty so far. Here will stand the systemd socket-activated daemon
// beside Docker or containerd: its configuration, listeners and life cycle in
// this package, the filtering registry proxy in proxy, the blob and image store
// in store, the control socket in lanes. It is a folder of its own because it
// trusts other things than the command line does: it lives long, answers
// strangers and holds credentials that it lends to nobody.
package sidecar
