package pgzip

import (
	"slices"
	"sync"

	"github.com/klauspost/compress/flate"
)

// A deflater compresses chunks at one level, one after another. What it gives
// does not depend on what it compressed before: ResetDict clears the tables of
// levels 7 to 9, and moves those of levels 1 to 6 out of reach. A test holds
// the library to that.
type deflater struct {
	level int
	z     *flate.Writer
	dict  [dictSize]byte // a copy, for z keeps the slice while it lies in the pool
	out   []byte
}

// deflaters are about 1 MiB each, and more than that is slow to make anew for
// every chunk. As many are in use as the crew has workers, and one for each
// Writer that closes a small layer.
var deflaters [flate.BestCompression + 1]sync.Pool

func newDeflater(level int) *deflater {
	if d, ok := deflaters[level].Get().(*deflater); ok {
		return d
	}
	return &deflater{level: level}
}

func (d *deflater) free() { deflaters[d.level].Put(d) }

// Write takes what z gives.
func (d *deflater) Write(p []byte) (int, error) {
	d.out = append(d.out, p...)
	return len(p), nil
}

// deflate compresses p into d.out. What is not the last piece ends at a byte's
// boundary (a sync flush), so that the next piece can follow it.
func (d *deflater) deflate(dict, p []byte, last bool) (err error) {
	const guess = 2 // most layers compress better; append knows what to do if not
	d.out = slices.Grow(d.out[:0], len(p)/guess)
	if d.z == nil {
		if d.z, err = flate.NewWriter(d, d.level); err != nil {
			return err
		}
	}
	d.z.ResetDict(d, d.dict[:copy(d.dict[:], dict)])
	if _, err := d.z.Write(p); err != nil {
		return err
	}
	if last {
		return d.z.Close()
	}
	return d.z.Flush()
}
