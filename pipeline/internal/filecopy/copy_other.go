//go:build !linux

package filecopy

import (
	"errors"
	"os"
)

// Range is not to be had here.
func Range(*os.File, int64, *os.File, int64, int64) (int64, error) { return 0, errors.ErrUnsupported }
