package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/sidecar/store"
)

// The facts of a repository are bounded: the youngest stay.
func TestOldFactsGoWhereThereAreMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t, store.Options{})
	const most = 5
	w.SetMaxNotes(most)
	sp := w.Space("mirror", store.SpaceOptions{Volatile: true})
	for i := range 3 * most {
		for _, repository := range []string{"many", fmt.Sprint("few", i%most)} {
			if err := sp.SetFact(t.Context(), repository, fmt.Sprint(i), []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		w.day.add(time.Second)
	}
	if err := sp.SetFact(t.Context(), "many", "0", []byte("again")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 3 * most {
		_, err := sp.Fact(t.Context(), "many", fmt.Sprint(i))
		if stays := i == 0 || i > 2*most; stays != (err == nil) || err != nil && !errors.Is(err, pipeline.ErrNotFound) {
			t.Errorf("fact %d: %v", i, err)
		}
		if _, err := sp.Fact(t.Context(), fmt.Sprint("few", i%most), fmt.Sprint(i)); err != nil {
			t.Errorf("fact %d of a repository with few: %v", i, err)
		}
	}
}
