package tarstream

import (
	"archive/tar"
	"strings"
)

// Sparse says whether archive/tar fills in the holes of an entry's content, so
// that what stands in the tar is not what it reads: old GNU headers, and all
// versions of GNU's PAX records.
func Sparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}
