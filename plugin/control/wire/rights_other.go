//go:build !unix

package wire

import (
	"errors"
	"os"
)

// rightsSpace has room for no descriptor: there are none to send here.
const rightsSpace = 0

func rightsOf(f *os.File) ([]byte, error) {
	if f == nil {
		return nil, nil
	}
	return nil, errors.ErrUnsupported
}

func overflow(int) error { return nil }

func file([]byte) (*os.File, error) { return nil, errors.ErrUnsupported }
