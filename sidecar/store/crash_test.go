package store_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/store"
)

// crash copies a store that is open, as a crash of its process would leave it.
func crash(t *testing.T, s *store.Store) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "crashed")
	if err := os.Remove(filepath.Join(s.Dir(), "control.sock")); err != nil { // which cannot be copied
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(s.Dir())); err != nil {
		t.Fatal(err)
	}
	return dir
}

// failPower makes of a crashed store one whose machine lost power: another boot, and
// files that were not synced have bytes of nothing.
func failPower(t *testing.T, dir string, unsynced ...string) {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"boot": "another", "closed": false})
	if err := errors.Join(err, os.WriteFile(filepath.Join(dir, "state.json"), raw, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, path := range append(unsynced, filepath.Join(dir, "cache.db")) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Remove(path), os.WriteFile(path, make([]byte, info.Size()), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKilledStoreLosesNothing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, t.TempDir(), store.Options{})
	durable, volatile := s.Space("push", store.SpaceOptions{}).Backend(), s.Space("mirror", store.SpaceOptions{Volatile: true})
	must(push(ctx, durable, "app", "1", nil, []string{"1"}, layer("1")))(t)
	must(push(ctx, volatile.Backend(), "app", "2", nil, []string{"2"}, layer("2")))(t)
	blob := must(upload(ctx, durable, "app", []byte("no manifest yet")))(t)
	must(0, volatile.SetFact(ctx, "app", "fresh", []byte("yes")))(t)
	up := must(durable.Uploads.Begin(ctx, "app", "upload"))(t)
	defer up.Close()
	must(up.Write([]byte("half ")))(t)
	dir := crash(t, s)
	// What was in place and not recorded yet, and what was being written.
	for _, name := range []string{"blobs/sha256/" + digest.FromString("lost").Encoded(), "uploads/put-1", ".new-state.json1"} {
		must(0, os.WriteFile(filepath.Join(dir, name), []byte("lost"), 0o600))(t)
	}

	again := open(t, dir, store.Options{})
	clean(t, again)
	for _, name := range []string{"blobs/sha256/" + digest.FromString("lost").Encoded(), "uploads/put-1", ".new-state.json1"} {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
	durable, volatile = again.Space("push", store.SpaceOptions{}).Backend(), again.Space("mirror", store.SpaceOptions{Volatile: true})
	if !has(t, durable, "app", "1") || !has(t, volatile.Backend(), "app", "2") || reads(ctx, durable, "app", blob) != nil {
		t.Error("an image or a blob was lost")
	}
	if v, err := volatile.Fact(ctx, "app", "fresh"); string(v) != "yes" {
		t.Errorf("the fact is %q, %v", v, err)
	}
	more := must(durable.Uploads.Resume(ctx, "app", "upload"))(t)
	must(more.Write([]byte("and half")))(t)
	must(0, more.Commit(ctx, digest.FromString("half and half")))(t)
	if err := reads(ctx, durable, "app", digest.FromString("half and half")); err != nil {
		t.Error(err)
	}
	clean(t, again)
}

func TestPowerFailureLosesNoDurableImage(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, t.TempDir(), store.Options{})
	durable, volatile := s.Space("push", store.SpaceOptions{}).Backend(), s.Space("mirror", store.SpaceOptions{Volatile: true}).Backend()
	must(push(ctx, volatile, "app", "saved", nil, []string{"saved"}, layer("saved")))(t)
	must(push(ctx, volatile, "app", "removed", nil, []string{"removed"}, layer("removed")))(t)
	must(0, s.Snapshot())(t)
	must(push(ctx, volatile, "app", "late", nil, []string{"late"}, layer("late")))(t)
	// A layer that came unsynced, and then synced with an image that is kept.
	must(upload(ctx, volatile, "app", layer("both")))(t)
	must(push(ctx, durable, "app", "1", nil, []string{"1"}, layer("1"), layer("both")))(t)

	dir := crash(t, s)
	must(0, os.Remove(blobPath(dir, layer("removed"))))(t) // after the snapshot
	failPower(t, dir, blobPath(dir, layer("late")))
	again := open(t, dir, store.Options{})
	clean(t, again)
	durable, volatile = again.Space("push", store.SpaceOptions{}).Backend(), again.Space("mirror", store.SpaceOptions{Volatile: true}).Backend()
	if !has(t, durable, "app", "1") {
		t.Error("a durable image was lost")
	}
	if !has(t, volatile, "app", "saved") || has(t, volatile, "app", "removed") || has(t, volatile, "app", "late") {
		t.Error("not what the snapshot has")
	}
	must(push(ctx, volatile, "app", "late", nil, []string{"late"}, layer("late")))(t)
	if err := whole(ctx, volatile, "app", registry.Ref{Tag: "late"}); err != nil {
		t.Error(err)
	}
	clean(t, again)
}

// Without any snapshot there is nothing of the cache, and all of the rest.
func TestPowerFailureBeforeTheFirstSnapshot(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), store.Options{})
	durable, volatile := s.Space("push", store.SpaceOptions{}).Backend(), s.Space("mirror", store.SpaceOptions{Volatile: true}).Backend()
	must(push(t.Context(), durable, "app", "1", nil, []string{"1"}, layer("1")))(t)
	must(push(t.Context(), volatile, "app", "2", nil, []string{"2"}, layer("2")))(t)
	dir := crash(t, s)
	failPower(t, dir, blobPath(dir, layer("2")))
	again := open(t, dir, store.Options{})
	clean(t, again)
	if !has(t, again.Space("push", store.SpaceOptions{}).Backend(), "app", "1") {
		t.Error("a durable image was lost")
	}
	if u, err := again.Usage(t.Context()); err != nil || u.Images != 1 {
		t.Errorf("there is %+v, %v", u, err)
	}
}
