package deflate

// Edited bytes of the window are marked in grains of 8, a bit each.
const (
	grain     = 8
	dirtyPad  = 16 // bytes behind the bitmap that may be loaded
	perByte   = 8 * grain
	perByteLg = 6
)

// touches says whether a grain among n bytes, at most maxLength, was edited.
func (d *decoder) touches(from, n int) bool {
	if from >= d.dirtyEnd {
		return false
	}
	w := load64(d.dirty, from>>perByteLg) >> (uint(from/grain) & 7)
	return w&(1<<(uint(n+from%grain+grain-1)/grain)-1) != 0
}
