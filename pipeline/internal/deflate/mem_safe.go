//go:build !(amd64 || arm64) || purego

package deflate

import "encoding/binary"

// The accesses of the hot loops in plain Go: see mem_unsafe.go.

func load64(b []byte, i int) uint64 { return binary.LittleEndian.Uint64(b[i : i+8]) }

func store64(b []byte, i int, v uint64) { binary.LittleEndian.PutUint64(b[i:i+8], v) }

func store8(b []byte, i int, v byte) { b[i] = v }

func load8(b []byte, i int) byte { return b[i] }

func copy16(b []byte, to, from int) {
	s := b[from : from+16]
	x, y := binary.LittleEndian.Uint64(s), binary.LittleEndian.Uint64(s[8:])
	d := b[to : to+16]
	binary.LittleEndian.PutUint64(d, x)
	binary.LittleEndian.PutUint64(d[8:], y)
}
