// Package view serves the images of the local engine as a registry that is only
// read: kind, k3d, scanners and neighbours pull layers of it, where they would run
// "docker save".
//
//	GET /v2/HOST/REPOSITORY/… or ?ns=HOST ─▶ whole name ─▶ Library (package lanes) ─▶ file ─▶ sendfile
//
// An image is there under the name that containerd has for it; a blob only below a
// name whose image reaches it, and only in a namespace of the settings. Nothing is
// written, fetched or made up: platforms that were not pulled are 404, which has
// containerd ask its next host. What refers to an image is listed as far as containerd
// keeps it with the image, or under a name of the same repository.
package view
