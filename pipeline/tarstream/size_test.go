package tarstream_test

import (
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// The size is that of the tar at its place, known from headers alone; to count
// is no change.
func TestSizeIsThatOfItsPlace(t *testing.T) {
	t.Parallel()
	for chain, f := range chains() {
		if chain == "swallowed end" { // so nobody after it hears of the end
			continue
		}
		t.Run(chain, func(t *testing.T) {
			t.Parallel()
			for name, in := range samples(t) {
				for _, in := range [][]byte{in, append(in, make([]byte, 100_000)...)} {
					var before, after *tarstream.Size
					sized := func(end tarstream.Handler) tarstream.Handler {
						after = tarstream.NewSize(end)
						before = tarstream.NewSize(f(after))
						return before
					}
					got, err := splice(t, in, 0, sized)
					if err != nil {
						t.Fatal(name, err)
					}
					if !strings.Contains(chain, "tail") && before.Bytes() != int64(len(in)) || after.Bytes() != int64(len(got.out)) {
						t.Errorf("%s: sizes are %d and %d, not %d and %d", name, before.Bytes(), after.Bytes(), len(in), len(got.out))
					}
					same(t, in, 0, sized)
				}
			}
		})
	}
}
