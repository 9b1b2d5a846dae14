//go:build unix

package fault

import (
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/sidecar/proxy/proxytest"
)

// SIGTERM under load: a push that was answered is there afterwards, and one that goes
// on is finished, or was never acknowledged.
func TestStoppedProxyLosesNoPush(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	up := proxytest.NewRegistry(t)
	c := newChild(t, settings(dir, up.Host))
	workers := allWorkers(t, c.base, up)
	rounds := 10
	if testing.Short() {
		rounds = 3
	}
	for range rounds {
		c.start()
		for _, w := range workers {
			must(t, w.recover(c.life))
		}
		var ended <-chan error
		work(c, workers, true, longestRun, func() { ended = c.term(); err := <-ended; must(t, err) })
	}
	verify(t, dir)
}

// A request that is under way when SIGTERM comes is finished.
func TestStoppedProxyFinishesAnUpload(t *testing.T) {
	t.Parallel()
	c := newChild(t, settings(t.TempDir(), "127.0.0.1:1"))
	c.start()
	cl := client(t, c.base)
	content := make([]byte, 1<<20)
	_, _ = rand.Read(content)
	a, err := cl.Do(c.life, http.MethodPost, "/v2/plain/a/blobs/uploads/", nil)
	must(t, err)
	to, err := url.Parse(a.Header.Get("Location"))
	must(t, err)
	body := &slowBody{content: content, half: make(chan struct{}), rest: make(chan struct{})}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, c.base+to.Path+"?digest="+digest.FromBytes(content).String(), body)
	must(t, err)
	req.ContentLength = int64(len(content))
	answer := make(chan error, 1)
	go func() {
		resp, err := cl.HTTP.Do(req)
		if err == nil {
			err = resp.Body.Close()
			if resp.StatusCode != http.StatusCreated {
				err = errors.Join(err, errors.New(resp.Status))
			}
		}
		answer <- err
	}()
	<-body.half
	// The proxy has begun to read it: half of it is more than sockets hold only where
	// they are small, so ask how much there is.
	eventually(t, "the upload has begun", func() bool {
		a, err := client(t, c.base).Do(c.life, http.MethodGet, to.Path, nil)
		return err == nil && a.Header.Get("Range") != "0-0"
	})
	ended := c.term()
	close(body.rest)
	if err := <-answer; err != nil {
		t.Errorf("the upload: %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the proxy: %v", err)
	}
}

// A slowBody sends half of its content, and the rest when it is told to.
type slowBody struct {
	content    []byte
	n          int
	half, rest chan struct{}
}

func (s *slowBody) Read(p []byte) (int, error) {
	if s.n == len(s.content)/2 {
		select {
		case <-s.half:
		default:
			close(s.half)
		}
		<-s.rest
	}
	end := len(s.content)
	if s.n < end/2 {
		end /= 2
	}
	n := copy(p, s.content[s.n:end])
	if s.n += n; s.n == len(s.content) {
		return n, io.EOF
	}
	return n, nil
}

// 200 clients that pull one new image at once make one request for each blob upstream.
func TestManyClientsMakeOneFetch(t *testing.T) {
	t.Parallel()
	const clients = 200
	w := newWorld(t, mirrors)
	w.other.Push(t, "team/app", w.store, w.image, "1")
	gate := make(chan struct{})
	var all sync.WaitGroup
	cl := &proxytest.Client{Base: w.Base, HTTP: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}}
	defer cl.HTTP.CloseIdleConnections()
	for range clients {
		all.Go(func() {
			<-gate
			if got, err := cl.Pull(t.Context(), "team/app", w.image.Digest.String(), "ns=up.example"); err != nil || got != w.image.Digest {
				t.Errorf("%s, %v", got, err)
			}
		})
	}
	close(gate)
	all.Wait()
	for request, n := range w.other.AllAsked() {
		if n != 1 {
			t.Errorf("%s was asked for %d times", request, n)
		}
	}
	if n := len(w.other.AllAsked()); n < 8 {
		t.Errorf("upstream got %d different requests", n)
	}
}
