package deflate_test

import (
	"bytes"
	"testing"
)

func TestAllDeletedIsOneEmptyMember(t *testing.T) {
	t.Parallel()
	plain := bytes.Repeat([]byte("some text "), 100)
	for name, in := range map[string][]byte{"one": stdGzip(plain, 6), "stored": stdGzip(plain, 0), "two": append(kGzip(plain[:400], 6), kGzip(plain[400:], 6)...)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, _ := mustTranscode(t, in, plain, each(edit{0, -1, nil}))
			if n := bytes.Count(out, []byte{0x1f, 0x8b, 8}); n != 1 {
				t.Errorf("%d headers", n)
			}
		})
	}
}

