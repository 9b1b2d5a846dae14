package tarstream

import (
	"bytes"
	"errors"
	"io"
	"slices"
)

const (
	// maxRegion bounds what is asked for at once; Next promises it.
	maxRegion = 64 << 10
	// tailRegion is what is asked for at once behind the last entry: most tars
	// have less than 10 KiB there.
	tailRegion = 16 << 10
	// maxKept bounds what handlers may hold back of what follows the entries.
	maxKept = 64 << 10
)

// asking is the source of an Editor: what it does not have it asks for.
type asking struct {
	ed   *Editor
	pos  int64
	have []byte // from pos on; valid until the next question
	end  bool   // nothing comes after have

	keep bool   // behind the entries: remember what is read
	kept []byte // of that, what has not come out of the chain yet
}

var _ source = (*asking)(nil)

// fill gets n bytes, or all that there are and io.EOF.
func (a *asking) fill(n int) error {
	if missing := n - len(a.have); missing > 0 && !a.end {
		had := bytes.Clone(a.have)
		region, err := a.ed.ask(a.pos+int64(len(had)), missing)
		if err != nil {
			return err
		}
		a.have, a.end = region, len(region) < missing
		if len(had) > 0 {
			a.have = slices.Concat(had, region)
		}
	}
	if len(a.have) < n {
		return io.EOF
	}
	return nil
}

// Peek shows the next n bytes.
func (a *asking) Peek(n int) ([]byte, error) {
	err := a.fill(n)
	return a.have[:min(n, len(a.have))], err
}

// Read reads the content of an extension header, or what follows the entries.
func (a *asking) Read(p []byte) (int, error) {
	if len(a.have) == 0 {
		n := min(len(p), maxRegion)
		if a.keep {
			n = tailRegion
		}
		if err := a.fill(n); len(a.have) == 0 && err != nil {
			return 0, err
		}
	}
	n := copy(p, a.have)
	a.take(n)
	if !a.keep {
		return n, nil
	}
	if len(a.kept)+n > maxKept {
		return 0, a.ed.s.needContent()
	}
	a.kept = append(a.kept, p[:n]...)
	return n, nil
}

// skip passes over what was peeked at, or over the content of an entry: there
// it looks at the header after it, since only so is known whether the content
// was there.
func (a *asking) skip(n int64) (int64, error) {
	if n <= int64(len(a.have)) {
		a.take(int(n))
		return n, nil
	}
	a.pos, a.have = after(a.pos, n), nil
	switch err := a.fill(blockSize); {
	case err == nil || len(a.have) > 0:
		return n, nil
	case !errors.Is(err, io.EOF):
		return 0, err
	}
	switch end := a.ed.size; {
	case end < 0:
		return 0, a.ed.s.needContent()
	case end < a.pos:
		return n - (a.pos - end), io.EOF
	}
	return n, nil
}

func (a *asking) take(n int) {
	a.pos += int64(n)
	a.have = a.have[n:]
}
