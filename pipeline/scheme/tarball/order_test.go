package tarball_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline"
	ours "github.com/occystrap/occystrap/pipeline/scheme/tarball"
)

// blob is what a script writes as one layer.
type blob struct {
	body  []byte
	known bool // size and digest are said beforehand
	tries int  // how often it is begun and discarded before
}

// write sends blobs to a sink in the order of arrival, so many at once.
func write(t *testing.T, dst pipeline.Sink, blobs []blob, arrival []int, parallel int) {
	t.Helper()
	var g errgroup.Group
	g.SetLimit(parallel)
	for _, seq := range arrival {
		g.Go(func() error {
			b := blobs[seq]
			if b.body == nil {
				dst.(pipeline.Skipper).Skip(seq)
				return nil
			}
			desc := ocispec.Descriptor{Digest: digest.FromBytes(b.body), Size: int64(len(b.body))}
			for range b.tries { // what a filter does that changes its mind
				l := pipeline.Layer{Blob: ocispec.Descriptor{Digest: digest.FromString("first try"), Size: int64(len(b.body)) * 2}}
				if err := send(t, dst, seq, l, bytes.Repeat([]byte("garbage"), 1+len(b.body)/7), nil); err != nil {
					return err
				}
			}
			l := pipeline.Layer{}
			if b.known {
				l.Blob = desc
			}
			return send(t, dst, seq, l, b.body, &desc)
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// send writes one layer in pieces, and discards it if commit is nil.
func send(t *testing.T, dst pipeline.Sink, seq int, l pipeline.Layer, body []byte, commit *ocispec.Descriptor) error {
	t.Helper()
	w, err := dst.Layer(t.Context(), seq, l)
	if err != nil {
		return err
	}
	defer w.Close()
	for piece := range slices.Chunk(body, 300<<10) {
		if _, err := w.Write(piece); err != nil {
			return err
		}
	}
	if commit == nil {
		return nil
	}
	return w.Commit(t.Context(), *commit, "")
}

// someBlobs are layers of many sizes: known or not beforehand, some tried before,
// some skipped, some that come out the same as another.
func someBlobs(source *rand.Rand) (blobs []blob) {
	content := rand.NewChaCha8([32]byte{1})
	for k := range 40 {
		body := make([]byte, source.IntN(1<<19)+1)
		_, _ = content.Read(body)
		b := blob{body: body, known: k%3 != 0}
		switch {
		case k%7 == 3:
			b.tries = 1
		case k%11 == 5:
			b.body = nil
		case k%13 == 6:
			b.body = blobs[k-1].body
		}
		blobs = append(blobs, b)
	}
	return blobs
}

func TestArchiveIsTheSameWhateverTheOrderOfArrival(t *testing.T) {
	t.Parallel()
	source := rand.New(rand.NewPCG(1, 2))
	blobs := someBlobs(source)
	archive := func(t *testing.T, uri string, arrival []int, parallel int) []byte {
		var out bytes.Buffer
		path := output(t, "out.tar")
		dst := sink(t, strings.ReplaceAll(uri, "FILE", path), ours.Config{Stdout: &out})
		defer dst.Close()
		write(t, dst, blobs, arrival, parallel)
		if err := dst.Publish(t.Context()); err != nil {
			t.Fatal(err)
		}
		if out.Len() > 0 {
			return out.Bytes()
		}
		return read(t, path)
	}
	order := make([]int, len(blobs))
	for k := range order {
		order[k] = k
	}
	want := archive(t, "tar://FILE", order, 1)
	headers, bodies := members(t, want)
	at := 1 // behind oci-layout
	seen := map[string]bool{}
	for _, b := range blobs {
		if name := "blobs/sha256/" + hexOf(b.body); b.body != nil && !seen[name] {
			seen[name] = true
			if headers[at].Name != name || !bytes.Equal(bodies[name], b.body) {
				t.Fatalf("member %d is not the next layer", at)
			}
			at++
		}
	}
	for round := range 6 {
		source.Shuffle(len(order), func(a, b int) { order[a], order[b] = order[b], order[a] })
		if round%3 == 0 {
			slices.Sort(order)
		}
		for _, uri := range []string{"tar://FILE", "tar://-"} {
			if got := archive(t, uri, order, 8); !bytes.Equal(got, want) {
				t.Fatalf("round %d of %s gave other bytes", round, uri)
			}
		}
	}
}

func TestDiscardedLayerLeavesNoTrace(t *testing.T) {
	t.Parallel()
	for _, uri := range []string{"tar://FILE", "tar://-"} {
		var out bytes.Buffer
		path := output(t, "out.tar")
		dst := sink(t, strings.ReplaceAll(uri, "FILE", path), ours.Config{Stdout: &out})
		defer dst.Close()
		write(t, dst, []blob{{body: []byte("kept"), tries: 3}}, []int{0}, 1)
		if err := send(t, dst, 1, pipeline.Layer{}, bytes.Repeat([]byte("garbage"), 1<<18), nil); err != nil {
			t.Fatal(err)
		}
		if err := dst.Publish(t.Context()); err != nil {
			t.Fatal(err)
		}
		raw := out.Bytes()
		if len(raw) == 0 {
			raw = read(t, path)
		}
		if bytes.Contains(raw, []byte("garbage")) || len(raw) != 10240 {
			t.Errorf("%s: %d bytes, with a trace of what was discarded", uri, len(raw))
		}
	}
}

func TestLayerThatIsNotWhatWasPromisedIsRefused(t *testing.T) {
	t.Parallel()
	body := []byte("0123456789")
	right := ocispec.Descriptor{Digest: digest.FromBytes(body), Size: 10}
	for name, c := range map[string]struct{ layer, commit ocispec.Descriptor }{
		"longer":  {ocispec.Descriptor{Digest: right.Digest, Size: 5}, right},
		"shorter": {ocispec.Descriptor{Digest: right.Digest, Size: 20}, ocispec.Descriptor{Digest: right.Digest, Size: 20}},
	} {
		dst := sink(t, "tar://"+output(t, "out.tar"), ours.Config{})
		defer dst.Close()
		if err := send(t, dst, 0, pipeline.Layer{Blob: c.layer}, body, &c.commit); !errors.Is(err, pipeline.ErrDigest) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
