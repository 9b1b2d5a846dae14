package tarstream_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// watching is a handler that does something before it passes an entry on.
type watching struct {
	tarstream.Handler
	entry func(e *tarstream.Entry, next tarstream.Handler) error
}

func (w watching) Entry(e *tarstream.Entry) error { return w.entry(e, w.Handler) }

// large is a tar whose files need more than one buffer, and its content.
func large(t *testing.T) (archive []byte, content string) {
	t.Helper()
	big := strings.Repeat("0123456789", 40<<10)
	return build(t,
		entry{tar.Header{Name: "d/", Typeflag: tar.TypeDir}, ""},
		entry{tar.Header{Name: "d/big"}, big},
		entry{tar.Header{Name: "d/empty"}, ""},
		entry{tar.Header{Name: "d/link", Typeflag: tar.TypeLink, Linkname: "d/big"}, ""},
		entry{tar.Header{Name: long}, "small"},
	), big + "small"
}

// Whoever looks at content in the middle of a chain sees all of it, whether the
// end of the chain copies it or not, and the tar stays as it is.
func TestTeeShowsContentOnceAndChangesNothing(t *testing.T) {
	t.Parallel()
	in, want := large(t)
	var out bytes.Buffer
	for name, end := range map[string]tarstream.Handler{"writer": tarstream.NewWriter(&out), "detector": &tarstream.Detector{}} {
		var first, second bytes.Buffer
		look := func(w io.Writer, next tarstream.Handler) tarstream.Handler {
			return watching{next, func(e *tarstream.Entry, next tarstream.Handler) error {
				e.Tee(w)
				if err := next.Entry(e); err != nil {
					return err
				}
				return e.Drain()
			}}
		}
		if err := tarstream.Read(bytes.NewReader(in), 0, look(&first, look(&second, end))); err != nil {
			t.Fatal(name, err)
		}
		if first.String() != want || second.String() != want {
			t.Errorf("%s: saw %d and %d bytes of content, expected %d", name, first.Len(), second.Len(), len(want))
		}
	}
	if !bytes.Equal(out.Bytes(), in) {
		t.Error("the tar was changed")
	}
}

// The sum is that of the tar at its place: before an edit that of the input,
// after it that of the output; a sum is no change.
func TestSumIsThatOfItsPlace(t *testing.T) {
	t.Parallel()
	in, _ := large(t)
	for name, edit := range map[string]bool{"unchanged": false, "edited": true} {
		var out bytes.Buffer
		after := tarstream.NewSum(tarstream.NewWriter(&out))
		change := watching{after, func(e *tarstream.Entry, next tarstream.Handler) error {
			if edit {
				e.Edit().Mode ^= 0o111
			}
			return next.Entry(e)
		}}
		before := tarstream.NewSum(change)
		if err := tarstream.Read(bytes.NewReader(in), 0, before); err != nil {
			t.Fatal(name, err)
		}
		if before.Digest() != digest.FromBytes(in) || before.Size() != int64(len(in)) {
			t.Errorf("%s: before, it is %s of %d bytes", name, before.Digest(), before.Size())
		}
		if after.Digest() != digest.FromBytes(out.Bytes()) || after.Size() != int64(out.Len()) {
			t.Errorf("%s: after, it is %s of %d bytes", name, after.Digest(), after.Size())
		}
		if bytes.Equal(out.Bytes(), in) == edit {
			t.Errorf("%s: the edit went wrong", name)
		}
	}
	d := tarstream.NewSum(&tarstream.Detector{})
	if err := tarstream.Read(bytes.NewReader(in), 0, d); errors.Is(err, tarstream.ErrChanged) || d.Size() != int64(len(in)) {
		t.Errorf("%d bytes, %v", d.Size(), err)
	}
}
