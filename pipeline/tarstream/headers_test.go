package tarstream_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// noting notes where entries start and what they take.
type noting struct{ spans [][3]int64 }

func (n *noting) Entry(e *tarstream.Entry) error {
	h, c := e.Span()
	n.spans = append(n.spans, [3]int64{e.Offset(), h, c})
	return nil
}

func (n *noting) End(io.Reader) error { return nil }

// variedTar has content that fits the buffer and content that does not, and an
// extension header.
func variedTar(t *testing.T) []byte {
	long := strings.Repeat("directory/", 30)
	return build(t,
		entry{h: tar.Header{Name: "large"}, body: strings.Repeat("x", 100_000)},
		entry{h: tar.Header{Name: "small"}, body: "y"},
		entry{h: tar.Header{Name: long + "file"}, body: strings.Repeat("z", 20_000)},
		entry{h: tar.Header{Name: "empty"}},
	)
}

func TestHeadersAreReadAnywhere(t *testing.T) {
	t.Parallel()
	plain := variedTar(t)
	var all, seeking noting
	if err := tarstream.Read(bytes.NewReader(plain), 0, &all); err != nil {
		t.Fatal(err)
	}
	h := tarstream.NewHeaders(bytes.NewReader(plain), int64(len(plain)), 0)
	for range 2 {
		seeking.spans = nil
		if err := h.Run(&seeking); err != nil || !slices.Equal(all.spans, seeking.spans) {
			t.Fatalf("entries at %v, not %v: %v", seeking.spans, all.spans, err)
		}
	}
	for _, span := range slices.Backward(all.spans) {
		e, err := h.At(span[0])
		if err != nil {
			t.Fatal(err)
		}
		blocks, err := e.Blocks()
		if err != nil || !bytes.Equal(blocks, plain[span[0]:span[0]+span[1]]) {
			t.Errorf("the header at %d has %d bytes, %v", span[0], len(blocks), err)
		}
		if _, err := e.Read(make([]byte, 1)); span[2] > 0 && !errors.Is(err, tarstream.ErrNeedsContent) {
			t.Errorf("content at %d: %v", span[0], err)
		}
	}
}

func TestHeadersOfACutTarAreAnError(t *testing.T) {
	t.Parallel()
	plain := variedTar(t)
	for _, n := range []int{512 + 100, 512 + 50_000} {
		if err := tarstream.NewHeaders(bytes.NewReader(plain), int64(n), 0).Run(&noting{}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
}
