package rootfs

import "fmt"

// Hidden counts the regular files that later layers deleted or replaced, and
// their bytes. A file that one layer has twice may count with what was written
// of it.
type Hidden struct {
	Files, Bytes int64
}

// String says what was hidden, for the user; "" for nothing.
func (h Hidden) String() string {
	switch h.Files {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("later layers replace or delete 1 file with %d bytes; flattening the image would save them", h.Bytes)
	}
	return fmt.Sprintf("later layers replace or delete %d files with %d bytes; flattening the image would save them", h.Files, h.Bytes)
}
