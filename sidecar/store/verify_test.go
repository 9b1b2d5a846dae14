package store_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/store"
)

// Each way in which a store can break is found, and is gone after Repair with no more
// than what depends on it.
func TestFaultsAreFoundAndRepaired(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(t *testing.T, dir string)
		kinds []string
		gone  bool // the image
	}{
		"damaged layer": {func(t *testing.T, dir string) {
			t.Helper()
			spoil(t, blobPath(dir, layer("app")))
		}, []string{store.Damaged, store.Incomplete, store.Incomplete}, true},
		"layer that is missing": {func(t *testing.T, dir string) {
			t.Helper()
			must(0, os.Remove(blobPath(dir, layer("app"))))(t)
		}, []string{store.Incomplete, store.Incomplete, store.Missing}, true},
		"layer that was cut": {func(t *testing.T, dir string) {
			t.Helper()
			must(0, os.Truncate(blobPath(dir, layer("app")), 10))(t)
		}, []string{store.Damaged, store.Incomplete, store.Incomplete}, true},
		"file that is no blob": {func(t *testing.T, dir string) {
			t.Helper()
			must(0, os.WriteFile(filepath.Join(dir, "uploads", "x"), nil, 0o600))(t)
		}, []string{store.Orphan}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			s := open(t, t.TempDir(), store.Options{})
			b := s.Space("push", store.SpaceOptions{}).Backend()
			app := must(push(ctx, b, "team/app", "app", nil, []string{"app"}, layer("app")))(t)
			must(push(ctx, b, "team/app", "other", nil, []string{"other"}, layer("other")))(t)
			must(pushIndex(ctx, b, "team/app", []string{"all"}, app))(t)
			clean(t, s)
			c.spoil(t, s.Dir())
			if got := faults(t, s.Verify); !slices.Equal(got, c.kinds) {
				t.Errorf("faults are %v, want %v", got, c.kinds)
			}
			if got := faults(t, s.Repair); !slices.Equal(got, c.kinds) {
				t.Errorf("repaired are %v, want %v", got, c.kinds)
			}
			clean(t, s)
			if !has(t, b, "team/app", "other") || has(t, b, "team/app", "app") == c.gone || has(t, b, "team/app", "all") == c.gone {
				t.Error("the wrong images are there")
			}
			must(push(ctx, b, "team/app", "app", nil, []string{"app"}, layer("app")))(t) // and it can be pushed again
			if err := whole(ctx, b, "team/app", registry.Ref{Tag: "app"}); err != nil {
				t.Error(err)
			}
			clean(t, s)
		})
	}
}

func blobPath(dir string, content []byte) string {
	return filepath.Join(dir, "blobs", "sha256", digest.FromBytes(content).Encoded())
}

// faults are the kinds of all that is reported.
func faults(t *testing.T, look func(ctx context.Context, report func(store.Fault)) error) []string {
	t.Helper()
	var kinds []string
	if err := look(t.Context(), func(f store.Fault) { kinds = append(kinds, f.Kind) }); err != nil {
		t.Error(err)
	}
	slices.Sort(kinds)
	return kinds
}
