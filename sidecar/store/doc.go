// Package store keeps images in a directory: a content store of containerd's layout
// with its metadata database, which several spaces and repositories share.
//
//	Backend of a Space ─┬─ blobs/ALGORITHM/HEX   the bytes, once for all spaces
//	                    ├─ uploads/              what arrives
//	                    ├─ meta.db               who sees what, what is kept: synced
//	                    └─ cache.db, cache.snap  the same of what can be had again
//
// Each repository of a space is a namespace of containerd's metadata: a blob is seen
// only there where it came, or was mounted. Manifests carry containerd's labels for
// garbage collection, so that nothing that a kept manifest needs is ever removed; what
// has arrived and is named by no manifest yet is held by a lease.
//
// # What survives
//
// A killed process loses nothing that was answered for: files are renamed into place
// when they are whole, and what they are is told in one transaction afterwards. A power
// failure loses no image of a durable space: its blobs are synced before they are seen,
// and its manifests are recorded in meta.db, which bbolt syncs. What came and is named
// by no manifest yet, and all that is in a Volatile space, is recorded in cache.db,
// which is not synced. After a power failure (another boot than that of the last
// writer) cache.db is not trusted, but its last snapshot is, which is written every few
// minutes, after the blobs that it speaks of were synced.
//
// # What is removed
//
// Past the high mark, whole images go that were not used for longest, until the low mark
// is reached; images that nobody used for Age go anyway. Pinned images stay, and so
// do those that were read or stated a moment ago.
package store
