package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Verified returns the bytes of rc, with an error in place of io.EOF when they
// are not those of desc: too few, too many, or of another digest. A digest of "" is
// not checked. Close closes rc.
func Verified(rc io.ReadCloser, desc ocispec.Descriptor) io.ReadCloser {
	v := &verified{rc: rc, desc: desc}
	if desc.Digest != "" {
		v.verifier = desc.Digest.Verifier()
	}
	return v
}

type verified struct {
	rc       io.ReadCloser
	desc     ocispec.Descriptor
	verifier digest.Verifier
	n        int64
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.rc.Read(p)
	v.n += int64(n)
	if v.verifier != nil {
		_, _ = v.verifier.Write(p[:n]) // a hash never fails
	}
	if v.n > v.desc.Size {
		return n, fmt.Errorf("blob %s: %w: more than its %d bytes", v.desc.Digest, ErrDigest, v.desc.Size)
	}
	if err != io.EOF {
		return n, err
	}
	if v.n < v.desc.Size {
		return n, fmt.Errorf("blob %s: %w after %d of %d bytes", v.desc.Digest, io.ErrUnexpectedEOF, v.n, v.desc.Size)
	}
	if v.verifier != nil && !v.verifier.Verified() {
		return n, fmt.Errorf("blob %s: %w: its bytes have another digest", v.desc.Digest, ErrDigest)
	}
	return n, io.EOF
}

func (v *verified) Close() error { return v.rc.Close() }

// Section is where the bytes lie in a file, if all of them are still to be read.
func (v *verified) Section() (Section, bool) {
	if v.n > 0 || v.verifier == nil {
		return Section{}, false
	}
	switch rc := v.rc.(type) {
	case InFile:
		s, ok := rc.Section()
		return s, ok && s.Size == v.desc.Size
	case *os.File:
		info, err := rc.Stat()
		if err != nil || !info.Mode().IsRegular() {
			return Section{}, false
		}
		off, err := rc.Seek(0, io.SeekCurrent)
		return Section{File: rc, Off: off, Size: v.desc.Size}, err == nil && info.Size()-off == v.desc.Size
	}
	return Section{}, false
}

// Named returns rc with errors that say what was read: which file, or which
// member of which archive. io.EOF stays what it is. Close closes rc.
func Named(rc io.ReadCloser, what string) io.ReadCloser { return &named{rc, what} }

type named struct {
	io.ReadCloser
	what string
}

func (n *named) Read(p []byte) (int, error) {
	c, err := n.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%s: %w", n.what, err)
	}
	return c, err
}

// Section is that of what is read.
func (n *named) Section() (Section, bool) {
	if f, ok := n.ReadCloser.(InFile); ok {
		return f.Section()
	}
	return Section{}, false
}

// openForeign opens a foreign layer from content if it is there after all, else
// from the first of its URLs that answers.
func openForeign(ctx context.Context, content Content, desc ocispec.Descriptor, q Query) (io.ReadCloser, error) {
	rc, err := content.Open(ctx, desc)
	if err == nil || !errors.Is(err, ErrNotFound) || q.OpenURL == nil {
		return rc, err
	}
	for _, u := range desc.URLs {
		var body io.ReadCloser
		if body, err = q.OpenURL(ctx, u); err == nil {
			return Verified(body, desc), nil
		}
	}
	return nil, fmt.Errorf("foreign layer %s: %w (leave it where it is with --foreign=keep)", desc.Digest, err)
}
