package ocilayout_test

import (
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/internal/ocilayout"
)

func TestNamesThatLeadOutAreRefused(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"./blobs/sha256/a": "blobs/sha256/a", "a/../b": "b", "..a": "..a",
		"": "", "/a": "", "..": "", "a/../../b": "", "../a": "", strings.Repeat("a", 4097): "",
	} {
		got, err := ocilayout.Within("archive", name)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%.20q became %q, %v; expected %q", name, got, err, want)
		}
		if err != nil && !strings.Contains(err.Error(), "the archive") {
			t.Errorf("%.20q: %v does not say of what it speaks", name, err)
		}
	}
}

func TestNamesOfAnEntryAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	theirs := ocispec.Descriptor{Annotations: map[string]string{ocilayout.AnnotationImageName: "old", ocispec.AnnotationRefName: "old", "k": "v"}}
	entries := ocilayout.Entries(theirs, []string{"docker.io/library/a:1", "docker.io/library/b:2"}, func(full string) string { return full[len(full)-1:] })
	for i, want := range []struct{ name, ref string }{{"docker.io/library/a:1", "1"}, {"docker.io/library/b:2", "2"}} {
		if name, ref := ocilayout.Names(entries[i]); name != want.name || ref != want.ref || entries[i].Annotations["k"] != "v" {
			t.Errorf("entry %d is %q and %q, expected %q and %q", i, name, ref, want.name, want.ref)
		}
	}
	nameless := ocilayout.Entries(theirs, nil, nil)
	if name, ref := ocilayout.Names(nameless[0]); len(nameless) != 1 || name != "" || ref != "" {
		t.Errorf("%d entries, the first %q and %q; expected one without a name", len(nameless), name, ref)
	}
	if len(theirs.Annotations) != 3 {
		t.Error("the descriptor that was given has changed")
	}
}

func TestAReferenceNameMayBeAFullName(t *testing.T) {
	t.Parallel()
	for ref, want := range map[string]string{"v1": "", "docker.io/library/a:1": "docker.io/library/a:1", "a:1": "a:1"} {
		d := ocispec.Descriptor{Annotations: map[string]string{ocispec.AnnotationRefName: ref}}
		if name, got := ocilayout.Names(d); name != want || got != ref {
			t.Errorf("%q is %q and %q, expected %q", ref, name, got, want)
		}
	}
}
