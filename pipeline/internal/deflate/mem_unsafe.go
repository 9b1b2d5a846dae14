//go:build (amd64 || arm64) && !purego

package deflate

import "unsafe"

// The four accesses of the hot loops, without bounds checks: both architectures
// are little-endian and read at any address. Who calls them has checked that
// there are 8 (16) bytes at the index; decoder says how. mem_safe.go does the
// same in plain Go, and the tests compare both.

func at(b []byte, i int) unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), i) //nolint:gosec // who calls has checked
}

func load64(b []byte, i int) uint64 { return *(*uint64)(at(b, i)) }

func store64(b []byte, i int, v uint64) { *(*uint64)(at(b, i)) = v }

func store8(b []byte, i int, v byte) { *(*byte)(at(b, i)) = v }

func load8(b []byte, i int) byte { return *(*byte)(at(b, i)) }

// copy16 copies 16 bytes that do not overlap.
func copy16(b []byte, to, from int) { *(*[16]byte)(at(b, to)) = *(*[16]byte)(at(b, from)) }
