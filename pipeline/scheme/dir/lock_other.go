//go:build !unix

package dir

import "os"

// tryLock does not lock: here, one program at a time writes a directory.
func tryLock(*os.File) (bool, error) { return true, nil }
