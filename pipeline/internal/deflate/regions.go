package deflate

import "fmt"

// next asks the patcher where it wants to look next, and writes what is settled
// by that.
func (t *transcoder) next() error {
	off, n, settled := t.patcher.Next()
	off, settled = min(off, forever), min(settled, forever)
	switch {
	case n == 0:
		off, settled = forever, forever
	case n < 0 || n > MaxRegion || settled > off || settled < t.settled || off < t.region:
		return fmt.Errorf("%w: region %d+%d after %d, settled %d after %d", ErrPatcher, off, n, t.region, settled, t.settled)
	}
	t.region, t.regionN, t.settled = off, n, settled
	return t.drain()
}

// regions shows the patcher what it asked for and what has been decoded. Edited
// bytes are kept in whole grains, so the grain at the end must be there too.
func (t *transcoder) regions() error {
	for t.region+int64(t.regionN)+grain-1 <= t.plain() {
		if err := t.show(t.regionN); err != nil {
			return err
		}
	}
	return nil
}

func (t *transcoder) show(n int) error {
	var region []byte
	if n > 0 {
		at := int(t.region - t.base0)
		if at < 0 {
			return fmt.Errorf("%w: region at %d is gone", ErrPatcher, t.region)
		}
		region = t.out[at : at+n : at+n]
	}
	t.seen = min(t.region+int64(n), t.plain())
	if err := t.patcher.Patch(region, t.replace); err != nil {
		return err
	}
	return t.next()
}

// finish shows the patcher the short regions at the end of the stream and writes
// the rest.
func (t *transcoder) finish() error {
	if e, ok := t.patcher.(Ender); ok {
		e.End(t.plain())
	}
	const most = 4 // times that a patcher may ask for what is not there
	for empty := 0; t.regionN > 0 && empty < most; {
		n := min(t.plain()-t.region, int64(t.regionN))
		if n <= 0 {
			n = 0
			empty++
		}
		if err := t.show(int(n)); err != nil {
			return err
		}
	}
	t.settled, t.region, t.regionN = forever, forever, 0
	if err := t.drain(); err != nil {
		return err
	}
	if c := t.cuts.next(); c != nil && c.off > t.plain() {
		return fmt.Errorf("%w: replace %d of %d bytes", ErrPatcher, c.off, t.plain())
	}
	return t.last()
}

// replace is what the patcher calls. The last bytes of a replacement take the
// place of the last old ones: in a tar the header proper is what stays, and what
// comes or goes are the extensions before it.
func (t *transcoder) replace(off, old int64, with []byte) error {
	if old < 0 || old > forever-off {
		old = max(0, forever-off)
	}
	if off < t.settled || off < t.cuts.replaced || off >= forever {
		return fmt.Errorf("%w: replace %d, settled %d, replaced %d", ErrPatcher, off, t.settled, t.cuts.replaced)
	}
	t.cuts.replaced = off + old
	same := 0
	if off+old <= t.seen { // how much is decoded behind it depends on the input's pieces
		same = int(min(old, int64(len(with))))
	}
	if same > 0 {
		t.patch(int(off+old-t.base0)-same, with[len(with)-same:])
	}
	return t.cuts.add(off, old-int64(same), with[:len(with)-same])
}
