package deflate_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/occystrap/occystrap/pipeline/internal/deflate"
)

// goldenDigest is that of what the Reader and Transcode make of the streams in
// testdata, of hand-made ones and of stored ones. It is the same with and without
// the build tag purego (make test runs both), on every architecture. Who changes how tokens are chosen
// changes it: the test says what it is now.
const goldenDigest = "46cad6cb52c400b36e4516e9fe25ed64c0d929a84aae35264590bca8003149d4"

// TestGolden compares with what it was. Of compressors only that of insertions is
// a part of it, and of the standard library archive/tar.
func TestGolden(t *testing.T) {
	t.Parallel()
	all := streamFiles(t)
	maps.Copy(all, map[string][]byte{"padded": padded(), "degenerate": degenerate(), "tiny": tinyBlocks(3)})
	plain := makeTar(rand.New(rand.NewPCG(21, 7)), 600<<10)
	all["stored"] = storedStream(plain)
	all["giant"], _ = giantStream(true, false, 1<<20)
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		in := all[name]
		plain, err := inflate(in)
		fmt.Fprintf(sum, "%s %x %v\n", name, sha256.Sum256(plain), err)
		for seed := range uint64(12) {
			s := newScript(seed, plain)
			res, err := deflate.Transcode(io.Discard, bytes.NewReader(in), s, deflate.Options{})
			fmt.Fprintf(sum, "%d %x %x %v\n", seed, res.New.Digest, res.Digest, err)
			_, err = inflate(in[:int(seed)*len(in)/12])
			fmt.Fprintf(sum, "%v\n", err)
		}
	}
	if got := fmt.Sprintf("%x", sum.Sum(nil)); got != goldenDigest {
		t.Errorf("the digest is %s", got)
	}
}

// storedStream has no compressed data.
func storedStream(plain []byte) []byte {
	s := new(bitStream)
	for rest := plain; len(rest) > 0; {
		n := min(len(rest), 40000)
		s.stored(n == len(rest), rest[:n])
		rest = rest[n:]
	}
	return s.member(plain)
}
