package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// reading is a filter that reads what the others leave of every file's content.
type reading struct{ tarstream.Handler }

func (reading) Recipe() pipeline.Recipe { return pipeline.Recipe{Key: "reading"} }

func (reading) Layer(_ context.Context, _ pipeline.LayerInfo, next tarstream.Handler) (tarstream.Handler, error) {
	return reading{next}, nil
}

func (r reading) Entry(e *tarstream.Entry) error {
	if err := r.Handler.Entry(e); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, e)
	return err
}

// wanting is rename with a word on compression.
type wanting struct {
	rename
	mode         pipeline.Recompress
	reproducible bool
}

func (w wanting) Recipe() pipeline.Recipe {
	return pipeline.Recipe{Key: w.rename.Recipe().Key, Recompress: w.mode, Reproducible: w.reproducible}
}

// oneLayer is an image of one layer in a store.
func oneLayer(t testing.TB, c pipeline.Compression, plain []byte) (*pipelinetest.Store, ocispec.Descriptor, ocispec.Descriptor) {
	t.Helper()
	s := pipelinetest.NewStore()
	img := s.Image(t, pipelinetest.Image{Compression: c, Layers: [][]byte{plain}})
	m, _ := manifestOf(t, pipeline.Manifest{Raw: s.Bytes(img.Digest), Config: []byte("{}")})
	return s, img, m.Layers[0]
}

func TestEditedLayerHasTheSameTarAsOneCompressedAnew(t *testing.T) {
	t.Parallel()
	for _, c := range []pipeline.Compression{pipeline.Gzip, pipeline.Zstd} {
		s, img, was := oneLayer(t, c, noise(t, "last"))
		diffIDs := map[pipeline.Recompress]digest.Digest{}
		for _, mode := range []pipeline.Recompress{pipeline.RecompressAuto, pipeline.RecompressCanonical} {
			opts := all
			opts.Recompress = mode
			dst := pipelinetest.NewSink()
			report := run(t, s.Source(img), dst, opts, rename{"last", "first"})
			m, config := manifestOf(t, published(t, dst))
			diffIDs[mode] = config.RootFS.DiffIDs[0]
			if m.Layers[0].MediaType != was.MediaType {
				t.Errorf("%s %s: media type became %s", c, mode, m.Layers[0].MediaType)
			}
			want := map[pipeline.Recompress]string{pipeline.RecompressAuto: "transcode/", pipeline.RecompressCanonical: "canonical/"}[mode]
			if want = "rename:last:first | recompress=" + want; !strings.HasPrefix(report.Layers[0].Recipe, want) {
				t.Errorf("the recipe is %q, want %s…", report.Layers[0].Recipe, want)
			}
		}
		if diffIDs[pipeline.RecompressAuto] != diffIDs[pipeline.RecompressCanonical] {
			t.Errorf("%s: diff IDs differ: %v", c, diffIDs)
		}
	}
}

// What cannot be edited is compressed anew, and the sink sees nothing wrong.
func TestLayerThatCannotBeEditedIsCompressedAnew(t *testing.T) {
	t.Parallel()
	s, img, was := oneLayer(t, pipeline.Gzip, noise(t, "last"))
	dst := pipelinetest.NewSink()
	report := run(t, s.Source(img), dst, all, reading{}, rename{"last", "first"})
	_, config := manifestOf(t, published(t, dst))
	if want := digest.FromBytes(noise(t, "first")); config.RootFS.DiffIDs[0] != want {
		t.Errorf("diff ID is %s, want %s", config.RootFS.DiffIDs[0], want)
	}
	if l := report.Layers[0]; l.How != pipeline.HowRewritten || l.Why == "" || s.Opened(was.Digest) != 3 {
		t.Errorf("the layer was %s because %q, opened %d times", l.How, l.Why, s.Opened(was.Digest))
	}
	if dst.Started-dst.Discarded != 1 {
		t.Errorf("%d writers begun, %d discarded", dst.Started, dst.Discarded)
	}
}

// A filter that reads and changes nothing leaves the layer as it came.
func TestReadingFilterLeavesTheLayer(t *testing.T) {
	t.Parallel()
	s, img, was := oneLayer(t, pipeline.Gzip, noise(t, "last"))
	dst := pipelinetest.NewSink()
	report := run(t, s.Source(img), dst, all, reading{})
	if got := published(t, dst); got.Desc.Digest != img.Digest || !bytes.Equal(dst.Store.Bytes(was.Digest), s.Bytes(was.Digest)) {
		t.Errorf("published %s with a layer that was %s, want the same image", got.Desc.Digest, report.Layers[0].How)
	}
}

func firstOf(modes ...pipeline.Recompress) pipeline.Recompress {
	for _, m := range modes {
		if m != "" {
			return m
		}
	}
	return ""
}

func TestWhoDecidesAboutCompression(t *testing.T) {
	t.Parallel()
	const auto, canonical, transcode = pipeline.RecompressAuto, pipeline.RecompressCanonical, pipeline.RecompressTranscode
	for _, c := range []struct {
		filter, second, sink, user pipeline.Recompress
		want                       pipeline.How // where no filter is there to make builds equal
	}{
		{"", "", "", "", pipeline.HowTranscoded},
		{"", "", "", canonical, pipeline.HowRewritten},
		{"", "", transcode, canonical, pipeline.HowTranscoded},
		{"", "", canonical, transcode, pipeline.HowRewritten},
		{auto, "", canonical, canonical, pipeline.HowTranscoded},
		{canonical, "", transcode, "", pipeline.HowRewritten},
		{transcode, canonical, "", "", pipeline.HowRewritten},
		{canonical, auto, "", "", pipeline.HowRewritten},
		{auto, transcode, canonical, "", pipeline.HowTranscoded},
	} {
		for _, reproducible := range []bool{false, true} {
			s, img, _ := oneLayer(t, pipeline.Gzip, pipelinetest.Tar(t, files("a")...))
			dst := pipelinetest.NewSink()
			dst.Wants.Encoding.Recompress = c.sink
			opts := all
			opts.Recompress = c.user
			want := c.want
			if first := firstOf(c.filter, c.sink, c.user, auto); reproducible && first == auto && c.second == "" {
				want = pipeline.HowRewritten
			}
			report := run(t, s.Source(img), dst, opts, wanting{rename{"a/file", "b"}, c.filter, false}, wanting{rename{"no", "thing"}, c.second, reproducible})
			if got := report.Layers[0].How; got != want {
				t.Errorf("%+v, reproducible %v: the layer was %s", c, reproducible, got)
			}
		}
	}
}

// A layer that the sink holds is only sent when it changes, and then edited.
func TestHeldLayerThatChangesIsEdited(t *testing.T) {
	t.Parallel()
	s, img, was := oneLayer(t, pipeline.Gzip, noise(t, "last"))
	dst := pipelinetest.NewSink()
	dst.Store.Put("", s.Bytes(was.Digest))
	report := run(t, s.Source(img), dst, all, rename{"last", "first"})
	if l := report.Layers[0]; l.How != pipeline.HowTranscoded || dst.Started != 1 || dst.Discarded != 0 {
		t.Errorf("the layer was %s, %d writers begun, %d discarded", l.How, dst.Started, dst.Discarded)
	}
}

func TestEditedLayerIsTheSameForAnyParallelism(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{
		noise(t, "last"), pipelinetest.Tar(t, files("a")...), noise(t, "z"), pipelinetest.Tar(t, files("last")...),
	}})
	var want []byte
	for _, n := range []int{1, 2, 8} {
		opts := all
		opts.Parallel = n
		dst := pipelinetest.NewSink()
		run(t, s.Source(img), dst, opts, rename{"last", "first"}, rename{"a/file", "a/x"})
		if want == nil {
			want = published(t, dst).Raw
		}
		if diff := cmp.Diff(string(want), string(published(t, dst).Raw)); diff != "" {
			t.Errorf("%d at once: %s", n, diff)
		}
	}
}

// A layer whose digest is right and whose stream is not is the source's fault,
// wherever the damage is; so is a config that lies about the tar.
func TestDamagedStreamIsTheSourcesFault(t *testing.T) {
	t.Parallel()
	plain := noise(t, "last")
	good := pipelinetest.Compress(t, pipeline.Gzip, plain)
	flip := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 4
		return b
	}
	for name, c := range map[string]struct {
		stored, plain []byte
		says          string
	}{
		"header":    {flip(1), plain, "tar"}, // no gzip at all
		"data":      {flip(len(good) / 2), plain, ""},
		"checksum":  {flip(len(good) - 6), plain, "byte"},
		"length":    {flip(len(good) - 1), plain, "byte"},
		"truncated": {good[:len(good)-20], plain, "EOF"},
		"garbage":   {append(bytes.Clone(good), "garbage"...), plain, "byte"},
		"config":    {good, noise(t, "first"), "diff ID"},
	} {
		s := pipelinetest.NewStore()
		img := s.LyingImage(t, c.plain, c.stored)
		dst := pipelinetest.NewSink()
		_, err := pipeline.Run(t.Context(), s.Source(img), []pipeline.Filter{rename{"last", "first"}}, dst, all)
		var side *pipeline.Error
		if !errors.As(err, &side) || side.Side != pipeline.SourceSide || !strings.Contains(err.Error(), c.says) || len(dst.Published) > 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEditedLayerObeysTheLimits(t *testing.T) {
	t.Parallel()
	s, img, _ := oneLayer(t, pipeline.Gzip, noise(t, "last"))
	for option, limits := range map[string]pipeline.Limits{
		"--max-layer-size": {Layer: 1 << 19},
		"--max-entries":    {Entries: 1},
	} {
		opts := all
		opts.Limits = limits
		_, err := pipeline.Run(t.Context(), s.Source(img), []pipeline.Filter{rename{"last", "first"}}, pipelinetest.NewSink(), opts)
		if err == nil || !strings.Contains(err.Error(), option) {
			t.Errorf("%s: %v", option, err)
		}
	}
}

// Daemons take a tar that ends without its two zero blocks; editing does too.
func TestTarWithoutItsEndIsEdited(t *testing.T) {
	t.Parallel()
	for _, c := range []pipeline.Compression{pipeline.Gzip, pipeline.Zstd} {
		whole := pipelinetest.Tar(t, files("a")...)
		s, img, _ := oneLayer(t, c, whole[:len(whole)-1024])
		dst := pipelinetest.NewSink()
		report := run(t, s.Source(img), dst, all, rename{"a/file", "a/other"})
		_, config := manifestOf(t, published(t, dst))
		want := pipelinetest.Tar(t, files("a")[0], pipelinetest.File{Name: "a/other", Body: "content of a"})
		if got := config.RootFS.DiffIDs[0]; got != digest.FromBytes(want[:len(want)-1024]) {
			t.Errorf("%s: diff ID is %s", c, got)
		}
		if l := report.Layers[0]; c == pipeline.Gzip && l.How != pipeline.HowTranscoded {
			t.Errorf("the layer was %s because %q", l.How, l.Why)
		}
	}
}

// A tar that is cut inside an entry is the source's fault, in the words of who
// reads it whole.
func TestCutTarIsTheSourcesFault(t *testing.T) {
	t.Parallel()
	for _, c := range []pipeline.Compression{pipeline.Gzip, pipeline.Zstd} {
		for _, mode := range []pipeline.Recompress{pipeline.RecompressTranscode, pipeline.RecompressCanonical} {
			plain := noise(t, "last")
			s, img, _ := oneLayer(t, c, plain[:len(plain)-4096])
			opts := all
			opts.Recompress = mode
			_, err := pipeline.Run(t.Context(), s.Source(img), []pipeline.Filter{rename{"noise", "first"}}, pipelinetest.NewSink(), opts)
			var side *pipeline.Error
			if !errors.As(err, &side) || side.Side != pipeline.SourceSide || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s %s: %v", c, mode, err)
			}
		}
	}
}
