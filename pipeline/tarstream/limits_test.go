package tarstream_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

func TestExtensionHeadersAreLimited(t *testing.T) {
	t.Parallel()
	file := member('0', magicGNU, "file", body)
	long := func(kind byte, n int) []byte {
		return member(kind, magicGNU, "././@LongLink", strings.Repeat("n", n-1)+"\x00")
	}
	var keys []string
	for i := range 10001 {
		keys = append(keys, fmt.Sprintf("k%d=v", i))
	}
	var repeats []string
	for i := range 12000 {
		repeats = append(repeats, fmt.Sprintf("GNU.sparse.offset=%d", i), "GNU.sparse.numbytes=1")
	}
	sparse := func(blocks int) []byte {
		b := member('S', magicGNU, "sparse", "", at{482, "\x01"})
		for i := range blocks {
			extra := make([]byte, 512)
			if i < blocks-1 {
				extra[504] = 1
			}
			b = append(b, extra...)
		}
		return b
	}
	cases := map[string]struct {
		in   []byte
		good bool
	}{
		"one PAX header of 900 KiB":     {archive(pax("k="+strings.Repeat("v", 900<<10)), file), true},
		"two headers of 600 KiB":        {archive(long('L', 600<<10), pax("k="+strings.Repeat("v", 600<<10)), file), false},
		"long names of 1.2 MiB":         {archive(slices.Repeat([][]byte{long('L', 120<<10)}, 10)...), false},
		"name of 64 KiB":                {archive(long('L', 64<<10), file), true},
		"name over 64 KiB":              {archive(long('L', 64<<10+2), file), false},
		"path over 64 KiB":              {archive(pax("path="+strings.Repeat("n", 64<<10+1)), file), false},
		"link over 64 KiB":              {archive(long('K', 64<<10+2), file), false},
		"sparse name over 64 KiB":       {archive(pax(sparse01(strings.Repeat("n", 64<<10+1))...), file), false},
		"10,000 keys":                   {archive(pax(keys[:10000]...), file), true},
		"10,001 keys":                   {archive(pax(keys...), file), false},
		"global with 10,001 keys":       {archive(member('g', magicPOSIX, "g", records(keys...)), file), false},
		"sparse map of 24,000 records":  {archive(pax(repeats...), file), true},
		"sparse map of 1 MiB":           {archive(sparse(2048)), true},
		"sparse map over 1 MiB":         {archive(sparse(2049)), false},
		"long name and map over 1 MiB":  {archive(long('L', 1000), sparse(2048)), false},
		"each entry has its own budget": {archive(slices.Repeat([][]byte{pax("k=" + strings.Repeat("v", 900<<10)), file}, 3)...), true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tarstream.Read(bytes.NewReader(c.in), 0, tarstream.NewWriter(io.Discard))
			if c.good && err != nil || !c.good && !errors.Is(err, tarstream.ErrFormat) {
				t.Error(err)
			}
		})
	}
}

func TestMalformedRecordOrTypeIsAnError(t *testing.T) {
	t.Parallel()
	file := member('0', magicPOSIX, "file", body)
	for name, in := range map[string][]byte{
		"path with NUL":          archive(pax("path=a\x00b"), file),
		"key with NUL":           archive(pax("a\x00b=c"), file),
		"sparse type in ustar":   archive(member('S', magicPOSIX, "sparse", body)),
		"negative file":          archive(member('0', magicPOSIX, "file", "", at{124, strings.Repeat("\xff", 12)})),
		"negative extension":     archive(member('x', magicPOSIX, "x", "", at{124, strings.Repeat("\xff", 12)}), file),
		"malformed uid":          archive(pax("uid=x"), file),
		"malformed global mtime": archive(member('g', magicPOSIX, "g", records("mtime=x")), file),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := ours(in); !errors.Is(err, tarstream.ErrFormat) {
				t.Error(err)
			}
		})
	}
}
