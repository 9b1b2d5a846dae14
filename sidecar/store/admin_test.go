package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/sidecar/store"
)

func TestStoreIsOpenOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, dir, store.Options{})
	if s, err := store.Open(t.Context(), dir, store.Options{}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("opened twice: %v, %v", s, err)
	}
}

func TestConnectMakesNoStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := store.Connect(t.Context(), dir); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("connected to nothing: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("made %v, %v", entries, err)
	}
}

// A store is looked after in the same way whether another process has it open or not,
// and however long its path is.
func TestAdminIsTheSameForAnOpenStore(t *testing.T) {
	t.Parallel()
	for name, way := range map[string]struct {
		dir    string
		opened bool
	}{
		"by the socket": {"s", true}, "by itself": {"s", false}, "by the socket of a long path": {strings.Repeat("long/", 30) + "s", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), filepath.FromSlash(way.dir))
			s, err := store.Open(t.Context(), dir, store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			b := s.Space("push", store.SpaceOptions{}).Backend()
			must(push(t.Context(), b, "team/app", "1", nil, []string{"1"}, layer("1")))(t)
			must(push(t.Context(), b, "team/app", "2", nil, []string{"2"}, layer("2")))(t)
			want := must(s.List(t.Context()))(t)
			if way.opened {
				defer s.Close()
			} else if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			a, err := store.Connect(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			if _, direct := a.(*store.Store); direct == way.opened {
				t.Errorf("the store is looked after by a %T", a)
			}
			administer(t, a, dir, want)
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func administer(t *testing.T, a store.Admin, dir string, want []store.Item) {
	t.Helper()
	ctx := t.Context()
	if diff := cmp.Diff(want, must(a.List(ctx))(t)); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	if u, err := a.Usage(ctx); err != nil || u.Images != 2 || u.Bytes < 2*layerSize {
		t.Errorf("usage is %+v, %v", u, err)
	}
	if name, err := a.Pin(ctx, "app:1"); err != nil || name != "push/team/app:1" {
		t.Errorf("pinned %q, %v", name, err)
	}
	if _, err := a.Pin(ctx, "other:1"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("pin of nothing: %v", err)
	}
	if _, err := a.Unpin(ctx, "app:2"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("unpin of what is not pinned: %v", err)
	}
	if _, err := a.Prune(ctx, 10*layerSize); err != nil || len(must(a.List(ctx))(t)) != 2 {
		t.Errorf("prune of nothing: %v", err)
	}
	if err := a.Verify(ctx, func(f store.Fault) { t.Errorf("a fault: %+v", f) }); err != nil {
		t.Error(err)
	}
	d := digest.FromBytes(layer("2"))
	spoil(t, filepath.Join(dir, "blobs", "sha256", d.Encoded()))
	kinds := map[string]bool{}
	if err := a.Repair(ctx, func(f store.Fault) { kinds[f.Kind] = f.Mended }); err != nil || !kinds[store.Damaged] || !kinds[store.Incomplete] {
		t.Errorf("repaired %v, %v", kinds, err)
	}
	if list := must(a.List(ctx))(t); len(list) != 1 || !list[0].Pinned {
		t.Errorf("left are %+v", list)
	}
	if _, err := a.Unpin(ctx, "app:1"); err != nil {
		t.Error(err)
	}
}

// spoil changes a byte of a file, whose mode does not allow it.
func spoil(t *testing.T, path string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2]++
	if err := errors.Join(os.Remove(path), os.WriteFile(path, raw, 0o600)); err != nil {
		t.Fatal(err)
	}
}
