package pgzip_test

import (
	"bytes"
	stdgzip "compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzip"
	"go.uber.org/goleak"

	"github.com/occystrap/occystrap/pipeline/internal/pgzip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// It changes GOMAXPROCS, so nothing runs beside it.
func TestBytesDependOnContentAndLevelAlone(t *testing.T) { //nolint:paralleltest // see above
	in := archive(t, 7*pgzip.ChunkSize+4321)
	want := canonical(t, in, 6)
	r := rand.New(rand.NewPCG(7, 8))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, cores := range []int{1, 2, 8} {
		runtime.GOMAXPROCS(cores)
		for name, piece := range map[string]func() int{
			"pieces of a tar": pieces,
			"all at once":     func() int { return len(in) },
			"chunks":          func() int { return pgzip.ChunkSize },
			"random":          func() int { return r.IntN(1 << r.IntN(22)) },
		} {
			if !bytes.Equal(compress(t, in, 6, piece), want) {
				t.Errorf("%d cores, %s: other bytes", cores, name)
			}
		}
	}
}

func TestEveryLevelAndLengthHasTheCanonicalForm(t *testing.T) {
	t.Parallel()
	all := archive(t, 2*pgzip.ChunkSize+5000)
	for level := 1; level <= 9; level++ {
		t.Run(fmt.Sprint(level), func(t *testing.T) {
			t.Parallel()
			for _, n := range []int{
				0, 1, 100, pgzip.ChunkSize - 1, pgzip.ChunkSize, pgzip.ChunkSize + 1,
				2 * pgzip.ChunkSize, 2*pgzip.ChunkSize + 1, len(all),
			} {
				in := all[:n]
				got := compress(t, in, level, pieces)
				if !bytes.Equal(got, canonical(t, in, level)) {
					t.Errorf("%d bytes: not the canonical form", n)
				}
				if n <= pgzip.ChunkSize && !bytes.Equal(got, oneStream(t, in, level)) {
					t.Errorf("%d bytes: not what one stream gives", n)
				}
				readBack(t, got, in)
			}
		})
	}
	for _, level := range []int{-3, -1, 0, 10} {
		if _, err := pgzip.NewWriter(io.Discard, level); err == nil {
			t.Errorf("level %d was accepted", level)
		}
	}
}

func readBack(t *testing.T, packed, want []byte) {
	t.Helper()
	std, err := stdgzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	klauspost, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]io.Reader{"compress/gzip": std, "klauspost/compress": klauspost} {
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s reads %d of %d bytes, %v", name, len(got), len(want), err)
		}
	}
}

func TestOtherToolsReadIt(t *testing.T) {
	t.Parallel()
	in := archive(t, 4*pgzip.ChunkSize)
	packed := compress(t, in, 6, pieces)
	for _, tool := range []string{"gzip", "pigz", "igzip"} {
		t.Run(tool, func(t *testing.T) {
			t.Parallel()
			path, err := exec.LookPath(tool)
			if err != nil {
				t.Skip(err)
			}
			cmd := exec.CommandContext(t.Context(), path, "-dc")
			cmd.Stdin = bytes.NewReader(packed)
			if got, err := cmd.Output(); err != nil || !bytes.Equal(got, in) {
				t.Errorf("it reads %d of %d bytes, %v", len(got), len(in), err)
			}
		})
	}
}

func TestSizeIsThatOfOneStream(t *testing.T) {
	t.Parallel()
	const n, most = 3 << 20, 1.02
	for name, in := range map[string][]byte{"text": text(n), "binaries": binaries(n), "archive": archive(t, n)} {
		for _, level := range []int{1, 6, 7} { // one for each of the library's methods, and the default
			ours, one := len(compress(t, in, level, pieces)), len(oneStream(t, in, level))
			t.Logf("%s, level %d: %+.3f %%", name, level, 100*(float64(ours)/float64(one)-1))
			if float64(ours) > most*float64(one) {
				t.Errorf("%s, level %d: %d bytes, one stream has %d", name, level, ours, one)
			}
		}
	}
}

func TestManyWritersShareTheCrew(t *testing.T) {
	t.Parallel()
	in := text(3*pgzip.ChunkSize + 99)
	want := map[int][]byte{1: canonical(t, in, 1), 6: canonical(t, in, 6), 7: canonical(t, in, 7)}
	var wg sync.WaitGroup
	for i := range 12 {
		level := []int{1, 6, 7}[i%3]
		wg.Go(func() {
			if !bytes.Equal(compress(t, in, level, func() int { return 70000 }), want[level]) {
				t.Errorf("level %d: other bytes", level)
			}
		})
	}
	wg.Wait()
}

// The digests are those of layers that are stored somewhere. If this test
// fails, the canonical form has changed, most likely with the version of
// klauspost/compress: layers compressed anew will not be found where they were
// stored before. If that is wanted, say so in the commit and the release notes,
// and put the new digests here.
func TestCanonicalFormIsTheOneOfTheLastRelease(t *testing.T) {
	t.Parallel()
	in := slices.Concat(text(2*pgzip.ChunkSize), binaries(2*pgzip.ChunkSize))
	if got, want := fmt.Sprintf("%x", sha256.Sum256(in)), "237f916ad3bf0205324dea94b1d4d4e16224c5973da41d3e094b88bbed5b5667"; got != want {
		t.Fatalf("the input is another one: %s", got)
	}
	for i, want := range []string{
		"ba7bb1d8e32143f24779598b925ee93d5caddfa1d465c03ebb4a86a6b91b41a0",
		"31a40bd1164609e5fc20b0476605570cfd3dc9265c69b6b0687a9e4924209c72",
		"c5530f62ac7d9cbabe6cdf790ae3b0778d4c2f5969c3e64a5c3bf5b6f5e32727",
		"a87f53a824360f1ff88daf2ccd31ca6f0ecb09a88bbb0fa866afe18ca3af41ba",
		"dcd6de169474c83c0126cd7629d80f3d42859f03321b194718c1bbf0e7771b4a",
		"f24dd5cb8ab80a3ad4dca14e7949c5731a8cebc275336ce38fd1ecadae98206a",
		"561a30507dd4655aed9cea7fc328bc2265000bfbf4d057a42047910ea49a6840",
		"ced32392e137312a356802822087763aa524e7d36617c85f08c534d04e1d799f",
		"1a288851853c668e663eaa5a500d196227b0d8d4a504381dae3beda0860f3a00",
	} {
		if got := fmt.Sprintf("%x", sha256.Sum256(compress(t, in, i+1, pieces))); got != want {
			t.Errorf("level %d: %s, was %s", i+1, got, want)
		}
	}
}
