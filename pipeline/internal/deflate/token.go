package deflate

// A token is what a deflate stream consists of.
type token struct {
	length uint16 // of a match; 0 is a literal
	value  uint16 // the literal, or the match's distance minus 1
}

func (t token) distance() int { return int(t.value) + 1 }

// size is how many plain bytes the token makes.
func (t token) size() int { return max(1, int(t.length)) }

// token decodes a token without writing what it makes. It returns atLimit when
// there is one.
func (d *decoder) token() (token, stop) {
	d.refill()
	e := d.tab.lit[d.bb&(1<<litBits-1)]
	if e&(entryLiteral|entryExceptional|entrySub) == entryExceptional|entrySub {
		d.drop(litBits)
		e = d.tab.litSub[(e>>16+uint32(d.bb&(1<<(e>>8&15)-1)))&(litSubSize-1)]
	}
	switch {
	case int32(e) < 0:
		d.drop(e)
		return token{value: uint16(e >> 8 & 0xff)}, atLimit
	case e&entryEnd != 0 && e&entryExceptional != 0:
		d.drop(e)
		return token{}, atEnd
	case e&entryExceptional != 0:
		return token{}, atFault
	}
	length := d.value(e)
	d.refill()
	e = d.tab.dist[d.bb&(1<<distBits-1)]
	if e&(entryExceptional|entrySub) == entryExceptional|entrySub {
		d.drop(distBits)
		e = d.tab.distSub[(e>>16+uint32(d.bb&(1<<(e>>8&15)-1)))&(distSubSize-1)]
	}
	if e&entryExceptional != 0 {
		return token{}, atFault
	}
	return token{length: uint16(length), value: uint16(d.value(e) - 1)}, atLimit
}

// value reads what an entry's code stands for, with the extra bits behind it.
func (d *decoder) value(e uint32) int {
	v := int(e>>16) + int((d.bb&(1<<(e&63)-1))>>(e>>8&15))
	d.drop(e)
	return v
}

// put writes what a token makes. False: its source is not there.
func (d *decoder) put(t token) bool {
	if t.length == 0 {
		d.out[d.op] = byte(t.value)
		d.op++
		return true
	}
	from, n := d.op-t.distance(), int(t.length)
	if from < d.start {
		return false
	}
	if t.distance() >= n {
		copy(d.out[d.op:d.op+n], d.out[from:])
	} else {
		for i := range n {
			d.out[d.op+i] = d.out[from+i]
		}
	}
	d.op += n
	return true
}
