package store_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/store"
)

// BenchmarkHead describes a manifest by its tag, through the Handler and without.
func BenchmarkHead(b *testing.B) {
	s, err := store.Open(b.Context(), b.TempDir(), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	backend := s.Space("push", store.SpaceOptions{}).Backend()
	if _, err := push(b.Context(), backend, "team/app", "1", nil, []string{"1"}, []byte("layer")); err != nil {
		b.Fatal(err)
	}
	b.Run("backend", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := backend.Manifests.Stat(b.Context(), "team/app", registry.Ref{Tag: "1"}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("handler", func(b *testing.B) {
		h := registry.New(backend, registry.Options{})
		r := httptest.NewRequest(http.MethodHead, "/v2/team/app/manifests/1", nil)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				w := httptest.NewRecorder()
				if h.ServeHTTP(w, r); w.Code != http.StatusOK {
					b.Fail()
				}
			}
		})
	})
	b.Run("blob", func(b *testing.B) {
		desc, err := push(b.Context(), backend, "team/app", "2", nil, []string{"2"}, []byte("layer"))
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := backend.Blobs.Stat(b.Context(), "team/app", desc.Digest); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkCommit stores a small blob: what is left is what a blob costs besides its
// bytes.
func BenchmarkCommit(b *testing.B) {
	for name, o := range spaces() {
		b.Run(name, func(b *testing.B) {
			s, err := store.Open(b.Context(), b.TempDir(), store.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			backend, n := s.Space("s", o).Backend(), 0
			b.ReportAllocs()
			for b.Loop() {
				n++
				if _, err := upload(b.Context(), backend, "app", fmt.Append(nil, "blob ", n)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
