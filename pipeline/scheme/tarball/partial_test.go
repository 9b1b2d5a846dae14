package tarball_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/inventory"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	ours "github.com/occystrap/occystrap/pipeline/scheme/tarball"
)

// A site has images, and the layers that they share.
type site struct {
	store *pipelinetest.Store
	tars  [][]byte
}

func newSite(t testing.TB, layers ...string) *site {
	t.Helper()
	s := &site{store: pipelinetest.NewStore()}
	for _, l := range layers {
		s.tars = append(s.tars, pipelinetest.Tar(t, pipelinetest.File{Name: l, Body: strings.Repeat(l, 1000)}))
	}
	return s
}

// image is one of these layers.
func (s *site) image(t testing.TB, c pipeline.Compression, layers ...int) ocispec.Descriptor {
	t.Helper()
	var tars [][]byte
	for _, l := range layers {
		tars = append(tars, s.tars[l])
	}
	return s.store.Image(t, pipelinetest.Image{Compression: c, Layers: tars})
}

// blob is a layer as it is stored.
func (s *site) blob(t testing.TB, c pipeline.Compression, layer int) digest.Digest {
	t.Helper()
	return digest.FromBytes(pipelinetest.Compress(t, c, s.tars[layer]))
}

// have writes an inventory of these holdings.
func have(t testing.TB, holdings ...pipeline.Holding) string {
	t.Helper()
	i := &inventory.Inventory{}
	for _, h := range holdings {
		i.Add(h)
	}
	path := output(t, "have.json")
	if err := i.Write(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// send writes an image into an archive.
func (s *site) send(t testing.TB, root ocispec.Descriptor, uri string, events pipeline.Events) error {
	t.Helper()
	_, err := pipeline.Run(t.Context(), s.store.Source(root, "registry.example/app:1"), nil, sink(t, uri, ours.Config{Events: events}), pipeline.Options{})
	return err
}

func mustSend(t testing.TB, s *site, root ocispec.Descriptor, uri string) []byte {
	t.Helper()
	if err := s.send(t, root, uri, nil); err != nil {
		t.Fatal(err)
	}
	path, _, _ := strings.Cut(strings.TrimPrefix(uri, "tar://"), "?")
	return read(t, path)
}

func TestWhatTheDestinationHasIsLeftOut(t *testing.T) {
	t.Parallel()
	s := newSite(t, "base", "middle", "top")
	root := s.image(t, pipeline.Gzip, 0, 1, 2)
	chain := pipeline.ChainIDs([]digest.Digest{digest.FromBytes(s.tars[0]), digest.FromBytes(s.tars[1])})
	for name, list := range map[string][]pipeline.Holding{
		"by digest":   {{Blob: ocispec.Descriptor{Digest: s.blob(t, pipeline.Gzip, 0)}}, {Blob: ocispec.Descriptor{Digest: s.blob(t, pipeline.Gzip, 1)}}},
		"by diff ID":  {{DiffID: digest.FromBytes(s.tars[0])}, {DiffID: digest.FromBytes(s.tars[1])}},
		"by chain ID": {{ChainID: chain[0]}, {ChainID: chain[1]}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var told pipelinetest.Warnings
			path := output(t, "delta.tar")
			if err := s.send(t, root, "tar://"+path+"?have="+have(t, list...), told.Events); err != nil {
				t.Fatal(err)
			}
			headers, bodies := members(t, read(t, path))
			got := names(headers)
			for _, n := range []string{"index.json", "manifest.json", "oci-layout"} {
				if slices.Contains(got, n) {
					t.Errorf("it has %s: others would take it for whole", n)
				}
			}
			for i, want := range []bool{false, false, true} {
				if has := slices.Contains(got, "blobs/sha256/"+s.blob(t, pipeline.Gzip, i).Encoded()); has != want {
					t.Errorf("layer %d is in it: %v, not %v", i, has, want)
				}
			}
			if marker := string(bodies["occystrap-partial.json"]); !strings.Contains(marker, chain[1].String()) {
				t.Errorf("the list does not tell of what is left out: %s", marker)
			}
			if !told.Has("partial archive: it leaves out 2 layers") {
				t.Errorf("nobody is told: %q", told.List)
			}
		})
	}
}

func TestArchiveThatLacksNothingIsWhole(t *testing.T) {
	t.Parallel()
	s := newSite(t, "base", "top")
	root := s.image(t, pipeline.Gzip, 0, 1)
	plain := mustSend(t, s, root, "tar://"+output(t, "plain.tar"))
	raw := mustSend(t, s, root, "tar://"+output(t, "delta.tar")+"?have="+have(t, pipeline.Holding{DiffID: digest.FromString("else")}))
	a, _ := members(t, plain)
	b, _ := members(t, raw)
	want, got := names(a), names(b)
	slices.Sort(want)
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestPartialArchiveIsAppliedWhereTheRestIs(t *testing.T) {
	t.Parallel()
	s := newSite(t, "base", "top")
	root := s.image(t, pipeline.Gzip, 0, 1)
	raw := mustSend(t, s, root, "tar://"+output(t, "delta.tar")+"?have="+have(t, pipeline.Holding{DiffID: digest.FromBytes(s.tars[0])}))
	bothWays(t, raw, "", func(t *testing.T, src pipeline.Source) {
		dst := pipelinetest.NewSink()
		dst.Store.Put("", pipelinetest.Compress(t, pipeline.Gzip, s.tars[0]))
		report, err := pipeline.Run(t.Context(), src, nil, dst, pipeline.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := report.Roots[0]; got.Manifest.Digest != root.Digest || got.Names[0] != "registry.example/app:1" {
			t.Errorf("it became %+v", got)
		}
	})
	bothWays(t, raw, "", func(t *testing.T, src pipeline.Source) {
		_, err := pipeline.Run(t.Context(), src, nil, pipelinetest.NewSink(), pipeline.Options{})
		var absent *pipeline.AbsentError
		if !errors.As(err, &absent) || len(absent.Layers) != 1 || absent.Layers[0].Blob.Digest != s.blob(t, pipeline.Gzip, 0) {
			t.Errorf("where the rest is not: %v", err)
		}
	})
	bothWays(t, raw, "", func(t *testing.T, src pipeline.Source) {
		if _, err := take(t.Context(), src, pipeline.Query{}); err == nil || !strings.Contains(err.Error(), "it is a partial archive") {
			t.Errorf("to read a layer that is not in it is %v", err)
		}
	})
}

func TestPartialArchiveMadeOfPartialArchive(t *testing.T) {
	t.Parallel()
	s := newSite(t, "base", "middle", "top")
	root := s.image(t, pipeline.Gzip, 0, 1, 2)
	one := mustSend(t, s, root, "tar://"+output(t, "one.tar")+"?have="+have(t, pipeline.Holding{DiffID: digest.FromBytes(s.tars[0])}))
	both := have(t, pipeline.Holding{DiffID: digest.FromBytes(s.tars[0])}, pipeline.Holding{DiffID: digest.FromBytes(s.tars[1])})
	if _, err := process(t, one, "tar://"+output(t, "two.tar")+"?have="+both, ours.Config{}); err != nil {
		t.Error(err)
	}
	if _, err := process(t, one, "tar://"+output(t, "two.tar"), ours.Config{}); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("a whole archive is made of a partial one: %v", err)
	}
}

func TestMarkersThatCannotBeTrustedAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		entries []entry
		want    string
	}{
		"newer":   {[]entry{file("occystrap-partial.json", []byte(`{"occystrapPartial":2}`))}, "version 2"},
		"both":    {[]entry{file("occystrap-partial.json", []byte(`{"occystrapPartial":1}`)), file("index.json", []byte(`{}`))}, "damaged or hostile"},
		"digest":  {[]entry{file("occystrap-partial.json", []byte(`{"occystrapPartial":1,"omitted":[{"digest":"sha256:1"}]}`))}, `digest "sha256:1"`},
		"no JSON": {[]entry{file("occystrap-partial.json", []byte(`x`))}, "occystrap-partial.json"},
		"empty":   {[]entry{file("occystrap-partial.json", []byte(`{"occystrapPartial":1}`))}, "no image"},
	} {
		bothWays(t, pack(t, c.entries...), "", func(t *testing.T, src pipeline.Source) {
			if _, err := take(t.Context(), src, pipeline.Query{}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: the error is %v, not %q", name, err, c.want)
			}
		})
	}
}

func TestLedgerLeavesOutWhatWasSent(t *testing.T) {
	t.Parallel()
	s := newSite(t, "base", "one", "two")
	ledger := output(t, "site.json")
	first, second := s.image(t, pipeline.Gzip, 0, 1), s.image(t, pipeline.Zstd, 0, 2)
	uri := func(name string) string { return "tar://" + output(t, name) + "?ledger=" + ledger }
	if got, _ := members(t, mustSend(t, s, first, uri("1.tar"))); !slices.Contains(names(got), "index.json") {
		t.Error("the first archive is not whole")
	}
	// The same base in another compression is upon the same layers: none.
	got, _ := members(t, mustSend(t, s, second, uri("2.tar")))
	if n := names(got); slices.Contains(n, "blobs/sha256/"+s.blob(t, pipeline.Zstd, 0).Encoded()) || !slices.Contains(n, "blobs/sha256/"+s.blob(t, pipeline.Zstd, 2).Encoded()) {
		t.Errorf("the second archive has %v", n)
	}
	again, _ := members(t, mustSend(t, s, second, uri("3.tar")))
	if n := names(again); len(n) != 3 { // manifest, config, list
		t.Errorf("what was sent before is sent again: %v", n)
	}
	// Upon other layers a graph driver would have to get it again.
	third, _ := members(t, mustSend(t, s, s.image(t, pipeline.Gzip, 1), uri("4.tar")))
	if n := names(third); !slices.Contains(n, "blobs/sha256/"+s.blob(t, pipeline.Gzip, 1).Encoded()) {
		t.Errorf("a layer upon others is left out: %v", n)
	}
}

func TestFailedRunLeavesLedgerAndArchive(t *testing.T) {
	t.Parallel()
	s := newSite(t, "base", "top")
	dir := t.TempDir()
	path, ledger := filepath.Join(dir, "delta.tar"), filepath.Join(dir, "site.json")
	uri := "tar://" + path + "?ledger=" + ledger
	mustSend(t, s, s.image(t, pipeline.Gzip, 0), uri)
	archive, before := read(t, path), read(t, ledger)
	s.store.Corrupt(s.blob(t, pipeline.Gzip, 1), []byte("damaged"))
	root := s.image(t, pipeline.Gzip, 0, 1)
	s.store.Corrupt(s.blob(t, pipeline.Gzip, 1), []byte("damaged"))
	if err := s.send(t, root, uri, nil); err == nil {
		t.Fatal("a damaged layer is sent")
	}
	if !bytes.Equal(read(t, path), archive) || !bytes.Equal(read(t, ledger), before) {
		t.Error("the archive or the ledger is another")
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".occystrap*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %v (%v)", left, err)
	}
}

func TestTwoRunsDoNotShareALedger(t *testing.T) {
	t.Parallel()
	s := newSite(t, "base")
	root := s.image(t, pipeline.Gzip, 0)
	ledger := output(t, "site.json")
	first := sink(t, "tar://"+output(t, "1.tar")+"?ledger="+ledger, ours.Config{})
	if _, err := first.(pipeline.Limited).Capacity(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := "tar://" + output(t, "2.tar") + "?ledger=" + ledger
	if err := s.send(t, root, second, nil); err == nil || !strings.Contains(err.Error(), "another run") {
		t.Errorf("meanwhile: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.send(t, root, second, nil); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if _, err := os.Stat(ledger); err != nil {
		t.Error(err)
	}
}

func TestBadListsAreToldOf(t *testing.T) {
	t.Parallel()
	s := newSite(t, "base")
	root := s.image(t, pipeline.Gzip, 0)
	bad := output(t, "bad.json")
	if err := os.WriteFile(bad, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for uri, want := range map[string]string{
		"?have=" + output(t, "none.json"): "no such file",
		"?have=" + bad:                    "it is no inventory",
		"?ledger=" + bad:                  "it is no inventory",
		"?ledger=" + filepath.Join(output(t, "no"), "s.json"): "no such file",
	} {
		path := output(t, "delta.tar")
		if err := s.send(t, root, "tar://"+path+uri, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the error is %v, not %q", uri, err, want)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: there is an archive", uri)
		}
	}
}
