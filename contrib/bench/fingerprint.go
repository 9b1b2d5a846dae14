package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
)

// A fingerprint is what a layer is apart from times and from how its tar is written.
type fingerprint struct {
	content digest.Digest // of all entries: names, modes, owners, links, content
	entries int
}

// printTar reads a layer, gzip or plain, to its end and verifies its diff ID.
// Every entry must be as the change says.
func printTar(r io.Reader, diffID digest.Digest, how change) (fingerprint, error) {
	buffered := bufio.NewReader(r)
	plain := io.Reader(buffered)
	if magic, _ := buffered.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return fingerprint{}, err
		}
		defer z.Close()
		plain = z
	}
	whole := diffID.Verifier()
	plain = io.TeeReader(plain, whole)
	sum, p := sha256.New(), fingerprint{}
	for tr := tar.NewReader(plain); ; p.entries++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return p, err
		}
		if err := how.broken(h); err != nil {
			return p, err
		}
		sum.Write([]byte(describe(h)))              // a hash takes everything
		if _, err := io.Copy(sum, tr); err != nil { //nolint:gosec // it goes nowhere
			return p, err
		}
	}
	// The digests are of everything, what follows the last entry included.
	for _, rest := range []io.Reader{plain, buffered} {
		if _, err := io.Copy(io.Discard, rest); err != nil {
			return p, err
		}
	}
	if !whole.Verified() {
		return p, fmt.Errorf("the plain tar does not have the diff ID %s", diffID)
	}
	p.content = digest.NewDigest(digest.SHA256, sum)
	return p, nil
}

// broken says what of an entry is not as the change wants it.
func (c change) broken(h *tar.Header) error {
	if !c.times.IsZero() && !h.ModTime.Equal(c.times) {
		return fmt.Errorf("%s has the time %s", h.Name, h.ModTime)
	}
	for _, dir := range c.without {
		// What hides a folder of a lower layer is not in it.
		if strings.HasPrefix(path.Clean(h.Name), dir+"/") && !strings.HasPrefix(path.Base(h.Name), ".wh.") {
			return fmt.Errorf("%s is still there", h.Name)
		}
	}
	return nil
}

// describe is an entry's header without times.
func describe(h *tar.Header) string {
	var extra strings.Builder
	for _, key := range slices.Sorted(maps.Keys(h.PAXRecords)) {
		if strings.HasPrefix(key, "SCHILY.xattr.") {
			fmt.Fprintf(&extra, " %q=%q", key, h.PAXRecords[key])
		}
	}
	return fmt.Sprintf("%q %c %q %o %d %d %d %d,%d%s\n",
		h.Name, h.Typeflag, h.Linkname, h.Mode, h.Uid, h.Gid, h.Size, h.Devmajor, h.Devminor, extra.String())
}
