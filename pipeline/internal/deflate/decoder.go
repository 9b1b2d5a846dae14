package deflate

// A stop says why the hot loop ended.
type stop int

const (
	atLimit stop = iota // the next token may reach beyond the limit
	atInput             // too little input is loaded
	atEnd               // the block has ended
	atSpot              // the next token reads bytes that were edited
	atFault             // the next token is none
)

// outPad are bytes behind the window that the hot loop may write to: a match is
// copied in pieces of 16 bytes, up to three literals go past the limit.
const outPad = 320

// decoder is the inflater's hot state. The plain bytes go to a window, in which
// indexes are positions.
type decoder struct {
	input
	tab *tables

	out   []byte
	op    int // where the next byte goes
	start int // where the member started: matches reach back to here

	// For an editor; a reader leaves all of it at 0.
	cutEnd   int     // a match from before here reaches over a cut
	dirtyEnd int     // from here on nothing was edited
	dirty    []uint8 // which grains were
}

// fast decodes tokens while the output is before limit, and none that reaches
// beyond it but literals, of which up to two may. There must be outPad bytes
// behind limit.
//
// Why no access needs a check: the loop goes on only with fastMargin bytes (or
// the zeros behind the end) to load; it writes before limit+outPad; a match's
// source is compared with start before it is read.
func (d *decoder) fast(limit int) stop { //nolint:funlen // one loop, whose variables stay in registers
	in, out, tab := d.in, d.out, d.tab
	ip, bb, bn, op := d.ip, d.bb, d.bn, d.op
	inLimit := d.inLimit
	special := max(d.start, d.cutEnd, d.dirtyEnd)
	why := atLimit
	if ip >= inLimit {
		return atInput
	}
	bb |= load64(in, ip) << (bn & 63)
	ip += int((63 - bn) >> 3)
	bn |= 56
	e := tab.lit[bb&(1<<litBits-1)] // always the entry of the next bits
	for op < limit {
		if ip >= inLimit {
			why = atInput
			break
		}
		if int32(e) < 0 {
			store8(out, op, byte(e>>8))
			bb >>= e & 63
			bn -= uint64(e & 63)
			e = tab.lit[bb&(1<<litBits-1)]
			op++
			if int32(e) < 0 {
				store8(out, op, byte(e>>8))
				bb >>= e & 63
				bn -= uint64(e & 63)
				e = tab.lit[bb&(1<<litBits-1)]
				op++
				if int32(e) < 0 {
					store8(out, op, byte(e>>8))
					bb >>= e & 63
					bn -= uint64(e & 63)
					op++
					bb |= load64(in, ip) << (bn & 63)
					e = tab.lit[bb&(1<<litBits-1)]
					ip += int((63 - bn) >> 3)
					bn |= 56
					continue
				}
			}
		}
		begin := ip*8 - int(bn)
		if e&entryExceptional != 0 {
			if e&entrySub == 0 {
				if e&entryEnd == 0 {
					why = atFault
					break
				}
				bb >>= e & 63
				bn -= uint64(e & 63)
				why = atEnd
				break
			}
			bb >>= litBits
			bn -= litBits
			e = tab.litSub[(e>>16+uint32(bb&(1<<(e>>8&15)-1)))&(litSubSize-1)]
			if int32(e) < 0 {
				store8(out, op, byte(e>>8))
				op++
				bb >>= e & 63
				bn -= uint64(e & 63)
				bb |= load64(in, ip) << (bn & 63)
				e = tab.lit[bb&(1<<litBits-1)]
				ip += int((63 - bn) >> 3)
				bn |= 56
				continue
			}
			if e&entryExceptional != 0 {
				if e&entryEnd == 0 {
					bb, bn, ip = reload(in, begin)
					why = atFault
					break
				}
				bb >>= e & 63
				bn -= uint64(e & 63)
				why = atEnd
				break
			}
		}
		length := int(e>>16) + int((bb&(1<<(e&63)-1))>>(e>>8&15))
		bb >>= e & 63
		bn -= uint64(e & 63)

		bb |= load64(in, ip) << (bn & 63)
		e = tab.dist[bb&(1<<distBits-1)]
		ip += int((63 - bn) >> 3)
		bn |= 56
		if e&entryExceptional != 0 {
			if e&entrySub == 0 {
				bb, bn, ip = reload(in, begin)
				why = atFault
				break
			}
			bb >>= distBits
			bn -= distBits
			e = tab.distSub[(e>>16+uint32(bb&(1<<(e>>8&15)-1)))&(distSubSize-1)]
			if e&entryExceptional != 0 {
				bb, bn, ip = reload(in, begin)
				why = atFault
				break
			}
		}
		distance := int(e>>16) + int((bb&(1<<(e&63)-1))>>(e>>8&15))
		bb >>= e & 63
		bn -= uint64(e & 63)
		from := op - distance
		if from < special {
			if from < d.start {
				bb, bn, ip = reload(in, begin)
				why = atFault
				break
			}
			if from < d.cutEnd || d.touches(from, length) {
				bb, bn, ip = reload(in, begin)
				why = atSpot
				break
			}
		}
		end := op + length
		if end > limit {
			bb, bn, ip = reload(in, begin)
			break
		}
		// The next entry is looked up while the bytes are copied.
		bb |= load64(in, ip) << (bn & 63)
		e = tab.lit[bb&(1<<litBits-1)]
		ip += int((63 - bn) >> 3)
		bn |= 56
		switch {
		case distance >= 16:
			copy16(out, op, from)
			for op += 16; op < end; op += 16 {
				from += 16
				copy16(out, op, from)
			}
		case distance >= 8:
			for ; op < end; op += 8 {
				store64(out, op, load64(out, from))
				from += 8
			}
		case distance == 1:
			v := uint64(load8(out, from)) * 0x0101010101010101
			for ; op < end; op += 8 {
				store64(out, op, v)
			}
		default: // each piece of 8 bytes holds one more period
			for ; op < end; op += distance {
				store64(out, op, load64(out, from))
			}
		}
		op = end
	}
	d.ip, d.bb, d.bn, d.op = ip, bb, bn, op
	return why
}

// reload is seek for the hot loop's variables.
func reload(in []byte, bit int) (bb, bn uint64, ip int) {
	r := input{in: in}
	r.seek(bit)
	return r.bb, r.bn, r.ip
}
