package inventory_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/inventory"
)

func sum(s string) digest.Digest { return digest.FromString(s) }

func blob(name string) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: sum(name), Size: int64(len(name))}
}

// layer is one whose blob and plain tar are named, upon parents.
func layer(name, plain string, parents ...string) pipeline.Layer {
	l := pipeline.Layer{Blob: blob(name), DiffID: sum(plain)}
	for _, p := range parents {
		l.Parents = append(l.Parents, pipeline.Layer{DiffID: sum(p)})
	}
	return l
}

func of(holdings ...pipeline.Holding) *inventory.Inventory {
	i := &inventory.Inventory{}
	for _, h := range holdings {
		i.Add(h)
	}
	return i
}

func TestWhatAPlaceHolds(t *testing.T) {
	t.Parallel()
	chain := pipeline.ChainIDs([]digest.Digest{sum("base"), sum("tar")})[1]
	for name, c := range map[string]struct {
		have  pipeline.Holding
		holds pipeline.Layer
		lacks pipeline.Layer
	}{
		"blob":    {pipeline.Holding{Blob: blob("b")}, layer("b", ""), layer("c", "")},
		"tar":     {pipeline.Holding{Blob: blob("b"), DiffID: sum("tar")}, layer("other", "tar", "any"), layer("other", "else")},
		"loose":   {pipeline.Holding{DiffID: sum("tar")}, layer("other", "tar"), layer("other", "else")},
		"chain":   {pipeline.Holding{DiffID: sum("tar"), ChainID: chain}, layer("other", "tar", "base"), layer("other", "tar", "else")},
		"in line": {pipeline.Holding{Blob: blob("b"), DiffID: sum("tar"), ChainID: chain}, layer("other", "tar", "base"), layer("b", "tar")},
	} {
		i := of(c.have)
		if !i.Holds(c.holds) {
			t.Errorf("%s: it is not held", name)
		}
		if i.Holds(c.lacks) {
			t.Errorf("%s: what is not there is held", name)
		}
	}
}

func TestNothingIsHeldByWhatIsNotKnown(t *testing.T) {
	t.Parallel()
	i := of(pipeline.Holding{Blob: blob("b")}, pipeline.Holding{ChainID: sum("c")})
	if i.Holds(pipeline.Layer{}) || i.HoldsBlob("", "") {
		t.Error("a layer of which nothing is known is held")
	}
}

func TestTheSameLayersGiveTheSameBytes(t *testing.T) {
	t.Parallel()
	all := []pipeline.Holding{
		{Blob: blob("a"), DiffID: sum("1")},
		{Blob: blob("a")},
		{Blob: blob("b"), DiffID: sum("2")},
		{DiffID: sum("3")},
		{DiffID: sum("3"), ChainID: sum("chain")},
		{Blob: blob("z"), DiffID: sum("3"), ChainID: sum("chain")},
		{Blob: blob("y"), ChainID: sum("chain")},
	}
	want, err := of(all...).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(all)
	i := of(all[:3]...)
	i.Merge(of(all[3:]...))
	got, err := i.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("one way it is\n%s, the other way\n%s", want, got)
	}
	again, err := inventory.Parse(got)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := again.Marshal(); err != nil || !bytes.Equal(back, want) {
		t.Errorf("read back it is\n%s (%v)", back, err)
	}
	if i.Len() != 4 {
		t.Errorf("it has %d layers, not 4", i.Len())
	}
}

func TestDamagedInventoriesAreRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                      "it is no inventory",
		"[]":                                    "it is no inventory",
		"{}":                                    "has no occystrapInventory",
		`{"schemaVersion":2}`:                   "has no occystrapInventory",
		`{"occystrapInventory":2}`:              "of version 2",
		entry("layers", `"size":1`):             "neither digest nor diff ID",
		entry("layers", `"digest":"sha256:12"`): `digest "sha256:12"`,
		entry("chains", `"digest":"`+sum("a").String()+`"`):           "chains have one",
		entry("layers", `"digest":"`+sum("a").String()+`","size":-1`): "its size is -1",
		entry("layers", `"digest":"../../etc/passwd"`):                "digest",
	} {
		if _, err := inventory.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the error is %v, not %q", text, err, want)
		}
	}
}

func entry(list, members string) string {
	return fmt.Sprintf(`{"occystrapInventory":1,%q:[{%s}]}`, list, members)
}

func TestFileIsReplacedWhole(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "have.json")
	if _, err := inventory.Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the error of a missing file is %v", err)
	}
	if err := of(pipeline.Holding{Blob: blob("a")}).Write(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := of(pipeline.Holding{Blob: blob("b")}).Stage(path)
	if err != nil {
		t.Fatal(err)
	}
	if i, err := inventory.Read(path); err != nil || !i.HoldsBlob(sum("a"), "") {
		t.Errorf("before it is published the file is another (%v)", err)
	}
	if err := errors.Join(s.Publish(), s.Close()); err != nil {
		t.Fatal(err)
	}
	i, err := inventory.Read(path)
	if err != nil || !i.HoldsBlob(sum("b"), "") {
		t.Errorf("afterwards the file is the old one (%v)", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("who could not read the old one can read the new one: %v (%v)", info.Mode(), err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".occystrap*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %v (%v)", left, err)
	}
}

func TestWhatIsNotPublishedLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := of().Stage(filepath.Join(dir, "have.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left over: %v (%v)", left, err)
	}
}
