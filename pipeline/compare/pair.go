package compare

import (
	"bytes"
	"iter"
)

// pairs puts two ordered sequences side by side: of things with one key both are
// given, else one and nil.
func pairs[T any](a, b iter.Seq2[T, error], key func(T) []byte) iter.Seq2[[2]*T, error] {
	return func(yield func([2]*T, error) bool) {
		nextA, stopA := iter.Pull2(a)
		defer stopA()
		nextB, stopB := iter.Pull2(b)
		defer stopB()
		x, errX, okX := nextA()
		y, errY, okY := nextB()
		for okX || okY {
			if errX != nil || errY != nil {
				yield([2]*T{}, firstOf(errX, errY))
				return
			}
			order := 0
			switch {
			case !okY:
				order = -1
			case !okX:
				order = 1
			default:
				order = bytes.Compare(key(x), key(y))
			}
			var pair [2]*T
			if order <= 0 {
				pair[0] = &x
			}
			if order >= 0 {
				pair[1] = &y
			}
			if !yield(pair, nil) {
				return
			}
			if order <= 0 {
				x, errX, okX = nextA()
			}
			if order >= 0 {
				y, errY, okY = nextB()
			}
		}
	}
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
