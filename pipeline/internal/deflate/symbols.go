package deflate

// The alphabets of RFC 1951, 3.2.5.

const (
	litSymbols  = 286 // that may occur; a fixed block's code has two more
	distSymbols = 30
	endOfBlock  = 256
	firstLength = 257
	maxLength   = 258
	window      = 32 << 10 // how far back a match reaches
	maxCodeBits = 15
)

var (
	lengthBase  = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distBase    = [distSymbols]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distExtra   = [distSymbols]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}

	// codeOrder is the order in which a block lists the lengths of its
	// code-length code (3.2.7).
	codeOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
)

// lengthSymbols maps a match's length to its symbol; distance symbols are found
// by distSymbol.
var lengthSymbols = func() (s [maxLength + 1]uint16) {
	for i, base := range lengthBase {
		for n := int(base); n < int(base)+1<<lengthExtra[i] && n <= maxLength; n++ {
			s[n] = uint16(firstLength + i) // of 258 the last wins: it has a symbol of its own
		}
	}
	return s
}()

// distLow and distHigh are distSymbol's tables: by the distance, and by its upper
// bits, which is enough from 257 on.
var distLow, distHigh = func() (low, high [257]uint8) {
	for i, base := range distBase {
		for d := int(base); d < int(base)+1<<distExtra[i]; d++ {
			if d < len(low) {
				low[d] = uint8(i)
			} else {
				high[(d-1)>>7] = uint8(i)
			}
		}
	}
	return low, high
}()

// distSymbol is the symbol of a match's distance, 1 to 32768.
func distSymbol(d int) int {
	if d < len(distLow) {
		return int(distLow[d])
	}
	return int(distHigh[(d-1)>>7])
}

// lengths are the code lengths of a block's two codes; 0 is a symbol without a
// code.
type lengths struct {
	lit  [288]uint8
	dist [32]uint8
}

// fixedLengths are those of a block with fixed codes (3.2.6).
var fixedLengths = func() *lengths {
	l := &lengths{}
	for i := range l.lit {
		switch {
		case i < 144:
			l.lit[i] = 8
		case i < 256:
			l.lit[i] = 9
		case i < 280:
			l.lit[i] = 7
		default:
			l.lit[i] = 8
		}
	}
	for i := range l.dist {
		l.dist[i] = 5
	}
	return l
}()
