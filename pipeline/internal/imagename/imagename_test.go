package imagename_test

import (
	"slices"
	"testing"

	"github.com/occystrap/occystrap/pipeline/internal/imagename"
)

func TestNamesAreSpeltInFullAndAsDockerShowsThem(t *testing.T) {
	t.Parallel()
	digest := "@sha256:" + "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for name, want := range map[string]struct{ full, familiar, name, tag string }{
		"busybox":                  {"docker.io/library/busybox:latest", "busybox:latest", "busybox", "latest"},
		"busybox:1":                {"docker.io/library/busybox:1", "busybox:1", "busybox", "1"},
		"index.docker.io/team/app": {"docker.io/team/app:latest", "team/app:latest", "team/app", "latest"},
		"localhost:5000/a/b:v":     {"localhost:5000/a/b:v", "localhost:5000/a/b:v", "localhost:5000/a/b", "v"},
		"busybox:1" + digest:       {"docker.io/library/busybox:1", "busybox:1", "busybox", "1"},
		"busybox" + digest:         {},
		"Busybox":                  {},
		"a b":                      {},
		"":                         {},
	} {
		full := imagename.Full(name)
		if full != want.full {
			t.Errorf("Full(%q) = %q, expected %q", name, full, want.full)
		}
		if full == "" {
			continue
		}
		if got := imagename.Familiar(full); got != want.familiar {
			t.Errorf("Familiar(%q) = %q, expected %q", full, got, want.familiar)
		}
		if n, tag := imagename.Split(full); n != want.name || tag != want.tag {
			t.Errorf("Split(%q) = %q and %q, expected %q and %q", full, n, tag, want.name, want.tag)
		}
	}
}

func TestWhatIsNoNameIsToldUnlessItHasADigest(t *testing.T) {
	t.Parallel()
	var told []string
	in := []string{"b", "", "No", "a@sha256:1", "b:latest", "a"}
	got := imagename.Valid(in, func(n string) { told = append(told, n) })
	if want := []string{"docker.io/library/b:latest", "docker.io/library/a:latest"}; !slices.Equal(got, want) {
		t.Errorf("valid are %q, expected %q", got, want)
	}
	if !slices.Equal(told, []string{"No"}) {
		t.Errorf("told of %q, expected only of No", told)
	}
}
