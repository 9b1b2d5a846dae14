// Package registry is the server half of the OCI distribution API (version
// 1.1): an http.Handler over whatever keeps the content.
//
//	request ─▶ path, names, digests ─▶ Handler ─▶ Blobs, Uploads, Manifests,
//	           checked by grammar         │       Tags, Referrers (a Backend)
//	                                      └─ streams, hashes and verifies bodies
//
// The Handler knows HTTP and the specification; a Backend knows where bytes
// lie, and gets to see only names that are valid and digests that were verified.
// Who may do what, on which port, is left to whoever serves the Handler.
//
// Nothing that arrives is visible before all of it was read and has the digest
// that it is to have. No lock is held while a body moves. A client has to move
// some bytes within Options.Stall, but may take as long as it wants otherwise.
package registry
