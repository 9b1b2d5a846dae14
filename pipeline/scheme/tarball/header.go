package tarball

import (
	"archive/tar"
	"bytes"
	"fmt"
	"time"
)

const (
	blockSize = 512
	// recordSize is what an archive is padded to (POSIX pax, 20 blocks).
	recordSize = 20 * blockSize
	// maxOctal is the largest size that a USTAR header can hold; beyond it GNU
	// tar's binary numbers keep the header one block long.
	maxOctal = 1<<33 - 1
	fileMode = 0o644
)

// header is the block, or blocks, before a member: USTAR, without owner or
// time, so that equal content gives equal archives.
func header(name string, size int64) ([]byte, error) {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: fileMode, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
	if size > maxOctal {
		h.Format = tar.FormatGNU
	}
	var b bytes.Buffer
	err := tar.NewWriter(&b).WriteHeader(h)
	if err != nil && h.Format == tar.FormatUSTAR {
		h.Format = tar.FormatPAX // a name that USTAR cannot hold (a sha512 digest)
		b.Reset()
		err = tar.NewWriter(&b).WriteHeader(h)
	}
	if err != nil {
		return nil, fmt.Errorf("member %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// pad is how many zeros follow n bytes of content.
func pad(n int64) int64 { return -n & (blockSize - 1) }
