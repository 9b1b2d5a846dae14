// Package tarstream reads a tar entry by entry, lets handlers edit entries,
// and writes what no handler edited byte for byte.
//
//	Read ─▶ Handler ─▶ Handler ─▶ Writer | Detector
//
// It knows ustar, PAX, GNU and old V7 headers, GNU sparse files of all
// versions and unknown PAX records. An entry's content is passed on as it is
// stored: a sparse file stays a sparse file.
package tarstream
