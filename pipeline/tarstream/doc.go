// Package tarstream reads a tar entry by entry, lets handlers edit entries,
// and writes what no handler edited byte for byte.
//
//	Read   ─▶ Handler ─▶ Handler ─▶ Writer | Detector
//	Editor ─▶ Handler ─▶ Handler ─▶ replace these bytes of the tar by those
//
// An Editor runs the same parser and the same handlers, but asks for headers
// alone, one after another, for whoever has no need to move the content.
//
// It knows ustar, PAX, GNU and old V7 headers, GNU sparse files of all
// versions and unknown PAX records. An entry's content is passed on as it is
// stored: a sparse file stays a sparse file.
//
// Where readers of tars differ, it reads what archive/tar reads, with which
// daemons extract: a filter and a daemon must see the same names. What it
// cannot read so it refuses with ErrFormat: two PAX headers before one entry,
// extension headers of more than 1 MiB together, names over 64 KiB.
package tarstream
