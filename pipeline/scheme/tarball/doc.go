// Package tarball reads and writes image archives: tar://FILE, and tar://- for
// standard input and output.
//
// It reads what docker save (1.10 and later), podman, skopeo, kaniko, BuildKit
// and containerd write, compressed as a whole or not, and writes one archive
// that is an OCI layout with a manifest.json, or one of the two.
//
//	plain file ─▶ scan the headers ─▶ blobs by offset ──┐
//	stream ─▶ spool, layers seen as they come ──────────┴▶ roots ─▶ pipeline.Resolve
//
//	layers, in any order ─▶ queue ─▶ archive in order of seq ─▶ manifests ─▶ rename
//
// An archive that arrives once (a daemon's export) and one that leaves at once
// (a daemon's load) are OpenStream and NewStreamSink. What manifests mean is
// the business of package pipeline; here they are bytes with names.
package tarball
