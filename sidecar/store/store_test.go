package store_test

import (
	"context"
	"testing"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/store"
)

// open opens a store that is closed when the test ends.
func open(t *testing.T, dir string, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// clean complains about any fault.
func clean(t *testing.T, s *store.Store) {
	t.Helper()
	if err := s.Verify(context.WithoutCancel(t.Context()), func(f store.Fault) { t.Errorf("%s: %s", f.Kind, f.Text) }); err != nil {
		t.Error(err)
	}
}

func TestSpacesAreBackends(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]store.SpaceOptions{"durable": {}, "volatile": {Volatile: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pipelinetest.TestBackend(t, func(t *testing.T) registry.Backend {
				t.Helper()
				s := open(t, t.TempDir(), store.Options{})
				t.Cleanup(func() { clean(t, s) })
				return s.Space("push", o).Backend()
			})
		})
	}
}
