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
	short, long := []int{0, 1, 100}, []int{pgzip.ChunkSize - 1, pgzip.ChunkSize, 2 * pgzip.ChunkSize, 2*pgzip.ChunkSize + 1, len(all)}
	for level := 1; level <= 9; level++ {
		t.Run(fmt.Sprint(level), func(t *testing.T) {
			t.Parallel()
			lengths := append(slices.Clone(short), pgzip.ChunkSize+1)
			if level == 1 || level == 6 { // the others would only take their time
				lengths = append(lengths, long...)
			}
			for _, n := range lengths {
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
	const n, most = 2 << 20, 1.02
	for name, in := range map[string][]byte{"text": text(n), "binaries": binaries(n), "archive": archive(t, n)} {
		for _, level := range []int{1, 6, 7} { // the fastest, the default, the other method of the library
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
	in := slices.Concat(text(pgzip.ChunkSize), binaries(pgzip.ChunkSize))
	if got, want := fmt.Sprintf("%x", sha256.Sum256(in)), "5ecf4a893910feae37a03a77bf0a4bd101ca56d877481623b269d7473a9b1757"; got != want {
		t.Fatalf("the input is another one: %s", got)
	}
	for i, want := range []string{
		"4c9f5298b8f7dce79983aa2b4b67309613d7721a32ebb9cf6809cdf29a0508ba",
		"2daf9720b3a95ec4e4242129301bf837e3e0a5639811815fac566a087184c7d9",
		"c20553884876d9068b46a54b60170ef43536b3dcaf41a77fe2e3d8aab0970abf",
		"4d91cecfe78ca058418885dbb85e5e5f1fc32f5f8da11b9bb47ca313e73e7126",
		"b816907bae8fc2e75ca268a16ced5652e46fcaaba8eaa67f2bb4c9d81a422152",
		"192637cdc5aa4c673bb1c0a36702293574c4b33031f399de0cff10ffdde47bc2",
		"ca5b4614593ef4cfabbc26fe15d3bd0651b380eb9dea12840090c36f9bc90084",
		"5d0cb6a72f611cbe3bf1aa070635806d41e156a0f2e40d1499b3294b83b0ef86",
		"ff034ec3c1ae22da0a21b374f28d6a4253bfc89c94bd09463c95d8338ac82541",
	} {
		if got := fmt.Sprintf("%x", sha256.Sum256(compress(t, in, i+1, pieces))); got != want {
			t.Errorf("level %d: %s, was %s", i+1, got, want)
		}
	}
}
