package pull_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"
)

// A noting answer counts the bytes that come out of files, which the kernel sends.
type noting struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (a noting) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(a.ResponseWriter, r)
	if part, ok := r.(*io.LimitedReader); ok {
		if _, ok := part.R.(*os.File); ok {
			a.n.Add(n)
		}
	}
	return n, err
}

func TestKernelSendsWhatArrives(t *testing.T) {
	t.Parallel()
	up, s := newFar(t), newSlow(3<<20)
	up.fail(s.answer)
	w := newWorld(t, up, nil)
	var files atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(a http.ResponseWriter, r *http.Request) { w.srv.Config.Handler.ServeHTTP(noting{a, &files}, r) }))
	defer srv.Close()
	const from = 500 // two that read at once, from places of their own
	var g errgroup.Group
	var begun sync.WaitGroup
	begun.Add(2)
	go func() {
		s.next <- part
		begun.Wait()
		close(s.next)
	}()
	for _, offset := range []int{0, from} {
		g.Go(func() error {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/v2/"+blobPath(s.d), nil)
			if err != nil {
				return err
			}
			r.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
			resp, err := srv.Client().Do(r)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			begun.Done() // its answer is there
			if got, err := io.ReadAll(resp.Body); err != nil || string(got) != string(s.content[offset:]) {
				return fmt.Errorf("from %d on: %d bytes, %w", offset, len(got), err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if want := int64(2*len(s.content) - from); files.Load() != want {
		t.Errorf("the kernel sent %d bytes of %d", files.Load(), want)
	}
}
