// Package plugin is the root of what plugs into Docker and containerd: code
// that must know one of the two daemons from the inside.
//
// It is empty itself. Below it stand content (images straight from and to
// containerd's content store), graphdriver (images out of the files of Docker's
// overlay2) and control (the client of the sidecar's control socket); to come are
// hosts (containerd's and Docker's hosts.toml), verifier (a verdict on one image, for
// containerd's image verification) and credential (Docker's credential helper
// protocol). They are kept apart from package pipeline so
// that whoever moves images by registry, archive or Engine API does not link
// containerd: pipeline/builtin is handed what lives here.
package plugin
