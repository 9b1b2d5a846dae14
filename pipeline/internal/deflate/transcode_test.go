package deflate_test

import (
	"math/rand/v2"
	"testing"
)

func TestTranscodeIsTheModel(t *testing.T) {
	t.Parallel()
	rounds := uint64(40)
	if testing.Short() {
		rounds = 5
	}
	for _, c := range compressors() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			fell := 0
			for seed := range rounds {
				r := rand.New(rand.NewPCG(seed, 7))
				plain := makeTar(r, 1+r.IntN(1<<(8+r.IntN(13))))
				in := c.make(t, plain)
				if in == nil {
					t.Skip("it is not installed")
				}
				for k := range uint64(3) {
					if _, ok := check(t, c.name, in, plain, seed*3+k); !ok {
						fell++
					}
				}
			}
			t.Logf("%d of %d fell back", fell, rounds*3)
		})
	}
}
