//go:build !unix

package filelock

import "os"

// Try does not lock: here, one program at a time writes what is shared.
func Try(*os.File) (bool, error) { return true, nil }

// Unlock closes the file.
func Unlock(f *os.File) error { return f.Close() }
