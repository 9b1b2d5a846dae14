package deflate

import "encoding/binary"

// The kinds of blocks (RFC 1951, 3.2.3).
const (
	stored  = 0
	fixed   = 1
	dynamic = 2
)

// headerRoom is how many bytes a block's header may need: less than inputPad.
const headerRoom = 600

// blockStart reads the three bits that every block starts with.
func (d *decoder) blockStart() (kind uint8, final bool, err error) {
	b := d.bits(3)
	if b>>1 == 3 {
		return 0, false, corrupt(d.offset(), "a block of no known kind")
	}
	return uint8(b >> 1), b&1 != 0, nil
}

// storedLength reads the rest of a stored block's header (3.2.4), and stands at
// its first byte then.
func (d *decoder) storedLength() (int, error) {
	d.align()
	i := d.bit() >> 3
	if i+4 > d.end {
		return 0, truncated(d.base + int64(d.end))
	}
	n := binary.LittleEndian.Uint16(d.in[i:])
	if n != ^binary.LittleEndian.Uint16(d.in[i+2:]) {
		return 0, corrupt(d.base+int64(i), "the length of a stored block")
	}
	d.seek((i + 4) * 8)
	return int(n), nil
}

// codes reads the codes of a dynamic block (3.2.7) into l.
func (d *decoder) codes(l *lengths) error {
	nlit, ndist := int(d.bits(5))+firstLength, int(d.bits(5))+1
	ncode := int(d.bits(4)) + 4
	if nlit > litSymbols || ndist > distSymbols {
		return corrupt(d.offset(), "too many symbols in a block's codes")
	}
	var code [19]uint8
	for _, s := range codeOrder[:ncode] {
		code[s] = uint8(d.bits(3))
	}
	var tab [1 << 7]uint32
	if !buildTable(tab[:], nil, code[:], &codeAlphabet) {
		return corrupt(d.offset(), "the code of a block's code lengths")
	}
	var all [litSymbols + distSymbols]uint8
	if !d.codeLengths(tab[:], all[:nlit+ndist]) {
		return corrupt(d.offset(), "the code lengths of a block")
	}
	if all[endOfBlock] == 0 {
		return corrupt(d.offset(), "a block that cannot end")
	}
	*l = lengths{}
	copy(l.lit[:], all[:nlit])
	copy(l.dist[:], all[nlit:nlit+ndist])
	return nil
}

// codeLengths reads run-length coded lengths.
func (d *decoder) codeLengths(tab []uint32, all []uint8) bool {
	for i := 0; i < len(all); {
		d.refill()
		e := tab[d.bb&uint64(len(tab)-1)]
		if e&entryExceptional != 0 {
			return false
		}
		d.drop(e)
		var v uint8
		n := 1
		switch s := e >> 16; s {
		case 16:
			if i == 0 {
				return false
			}
			v, n = all[i-1], 3+int(d.bits(2))
		case 17:
			n = 3 + int(d.bits(3))
		case 18:
			n = 11 + int(d.bits(7))
		default:
			v = uint8(s)
		}
		if n > len(all)-i {
			return false
		}
		for ; n > 0; n-- {
			all[i] = v
			i++
		}
	}
	return true
}
