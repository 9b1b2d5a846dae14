package zstdframe

import (
	"encoding/binary"
	"math/bits"
)

// The primes of XXH64 (RFC 8878, 3.1.1; xxHash, doc/xxhash_spec.md).
const (
	prime1 uint64 = 0x9E3779B185EBCA87
	prime2 uint64 = 0xC2B2AE3D27D4EB4F
	prime3 uint64 = 0x165667B19E3779F9
	prime4 uint64 = 0x85EBCA77C2B2AE63
	prime5 uint64 = 0x27D4EB2F165667C5

	stripe = 32
)

// xxh64 is XXH64 with seed 0, whose low four bytes are a frame's
// Content_Checksum. The zero value is ready.
type xxh64 struct {
	lanes [4]uint64
	n     uint64
	rest  [stripe]byte // the last n%stripe bytes
}

func (x *xxh64) write(p []byte) {
	if x.n == 0 {
		x.lanes = [4]uint64{prime2, prime2, 0, 0}
		x.lanes[0] += prime1 // wraps around
		x.lanes[3] -= prime1
	}
	have := int(x.n % stripe)
	x.n += uint64(len(p))
	if have > 0 {
		n := copy(x.rest[have:], p)
		if have+n < stripe {
			return
		}
		p = p[n:]
		x.stripes(x.rest[:])
	}
	whole := len(p) / stripe * stripe
	x.stripes(p[:whole])
	copy(x.rest[:], p[whole:])
}

func (x *xxh64) stripes(p []byte) {
	a, b, c, d := x.lanes[0], x.lanes[1], x.lanes[2], x.lanes[3]
	for ; len(p) >= stripe; p = p[stripe:] {
		a = round(a, binary.LittleEndian.Uint64(p))
		b = round(b, binary.LittleEndian.Uint64(p[8:]))
		c = round(c, binary.LittleEndian.Uint64(p[16:]))
		d = round(d, binary.LittleEndian.Uint64(p[24:]))
	}
	x.lanes = [4]uint64{a, b, c, d}
}

func round(lane, in uint64) uint64 { return bits.RotateLeft64(lane+in*prime2, 31) * prime1 }

func (x *xxh64) sum() uint64 {
	h := prime5
	if x.n >= stripe {
		l := x.lanes
		h = bits.RotateLeft64(l[0], 1) + bits.RotateLeft64(l[1], 7) + bits.RotateLeft64(l[2], 12) + bits.RotateLeft64(l[3], 18)
		for _, lane := range l {
			h = (h^round(0, lane))*prime1 + prime4
		}
	}
	h += x.n
	p := x.rest[:x.n%stripe]
	for ; len(p) >= 8; p = p[8:] {
		h = bits.RotateLeft64(h^round(0, binary.LittleEndian.Uint64(p)), 27)*prime1 + prime4
	}
	for ; len(p) >= 4; p = p[4:] {
		h = bits.RotateLeft64(h^uint64(binary.LittleEndian.Uint32(p))*prime1, 23)*prime2 + prime3
	}
	for _, c := range p {
		h = bits.RotateLeft64(h^uint64(c)*prime5, 11) * prime1
	}
	h = (h ^ h>>33) * prime2
	h = (h ^ h>>29) * prime3
	return h ^ h>>32
}
