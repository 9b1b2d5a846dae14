//go:build unix

package fault

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// requests are what a hostile client starts from.
func requests() []string {
	d := digest.FromString("x").String()
	host := " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
	return []string{
		"GET /v2/" + host + "\r\n",
		"GET /v2/team/app/manifests/1?ns=up.example" + host + "Accept: */*\r\n\r\n",
		"GET /v2/team/app/manifests/1?ns=up.example&ns=evil.example" + host + "\r\n",
		"GET /v2/up.example/team/app/blobs/" + d + host + "Range: bytes=0-1\r\n\r\n",
		"HEAD /v2/filtered/a/manifests/" + d + host + "\r\n",
		"GET /v2/team/app/tags/list?n=1&last=%00" + host + "\r\n",
		"GET /v2/team/app/referrers/" + d + "?artifactType=a%0d%0ab" + host + "\r\n",
		"POST /v2/plain/a/blobs/uploads/?digest=" + d + host + "Content-Length: 1\r\n\r\nx",
		"POST /v2/plain/a/blobs/uploads/?mount=" + d + "&from=../x" + host + "Content-Length: 0\r\n\r\n",
		"PATCH /v2/plain/a/blobs/uploads/00000000-0000-4000-8000-000000000001" + host + "Content-Range: 0-0\r\nContent-Length: 1\r\n\r\nx",
		"PUT /v2/filtered/a/manifests/1" + host + "Content-Type: application/vnd.oci.image.index.v1+json\r\nContent-Length: 38\r\n\r\n" + `{"schemaVersion":2,"manifests":[null]}`,
		"PUT /v2/filtered/a/manifests/1" + host + "Content-Type: application/vnd.oci.image.manifest.v1+json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"DELETE /v2/plain/a/manifests/1" + host + "\r\n",
		"GET /status" + host + "\r\n", "GET /metrics" + host + "\r\n", "GET /healthz" + host + "\r\n",
	}
}

// damage changes a few bytes, and puts in what breaks parsers.
func damage(r *rand.Rand, request string) []byte {
	b := []byte(request)
	for range r.IntN(4) {
		at := r.IntN(len(b) + 1)
		switch r.IntN(4) {
		case 0:
			b = append(b[:at:at], append([]byte{byte(r.Uint32())}, b[at:]...)...)
		case 1:
			if at < len(b) {
				b = append(b[:at:at], b[at+1:]...)
			}
		case 2:
			odd := []string{"\x00", "%2f", "..", "//", "%", "\r\n", "\n", " ", "?", "ns=", ":", "@", "{", `"`, "\xff\xfe", strings.Repeat("a", 3000), "Content-Length: 5\r\n", "sha512:"}
			b = append(b[:at:at], append([]byte(odd[r.IntN(len(odd))]), b[at:]...)...)
		default:
			if at < len(b) {
				b[at] ^= 1 << r.IntN(8)
			}
		}
	}
	return b
}

// patience is how long an answer is waited for before the client says that it sends
// no more. What comes later is not judged: the server then takes the client for gone.
const patience = 200 * time.Millisecond

// send sends bytes, and looks at all answers.
func send(t *testing.T, address string, request []byte) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience)) // a socket has deadlines
	_, _ = c.Write(request)                     // a server may hang up on who talks nonsense
	raw, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		_ = c.SetDeadline(time.Now().Add(3 * time.Minute))
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	}
	answers := bufio.NewReader(bytes.NewReader(raw))
	for {
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			return
		}
		if resp.StatusCode >= http.StatusInternalServerError && resp.StatusCode != http.StatusNotImplemented && resp.StatusCode != http.StatusHTTPVersionNotSupported {
			t.Errorf("%q is answered with %s", request, resp.Status)
		}
		if _, err := io.Copy(io.Discard, resp.Body); errors.Join(err, resp.Body.Close()) != nil {
			return
		}
	}
}

// Malformed requests get no 500, panic nothing, and leave nothing in memory.
func TestMalformedRequests(t *testing.T) { //nolint:paralleltest // it measures memory
	w := newWorld(t, mirrors)
	w.other.Push(t, "team/app", w.store, w.image, "1")
	address := strings.TrimPrefix(w.Base, "http://")
	seed := rand.Uint64()
	t.Logf("the seed is %d", seed)
	n := 200
	if testing.Short() {
		n = 40
	}
	const workers = 8
	round := func(i uint64) {
		var all sync.WaitGroup
		for j := range workers {
			all.Go(func() {
				r := rand.New(rand.NewPCG(seed, i<<8|uint64(j)))
				for range n {
					send(t, address, damage(r, requests()[r.IntN(len(requests()))]))
				}
			})
		}
		all.Wait()
	}
	round(0) // caches and pools are warm then
	before := heap()
	round(1)
	const growth = 64 << 20
	if after := heap(); after > before+growth {
		t.Errorf("memory grew from %d to %d bytes", before, after)
	}
	if _, err := w.pull(t.Context()); err != nil {
		t.Error(err)
	}
}

// heap is what is in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// FuzzRequest sends bytes to the whole proxy.
func FuzzRequest(f *testing.F) {
	for _, r := range requests() {
		f.Add([]byte(r))
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		w := newWorld(t, mirrors)
		send(t, strings.TrimPrefix(w.Base, "http://"), request)
		if _, err := w.Do(t.Context(), http.MethodGet, "/v2/", nil); err != nil {
			t.Error(fmt.Errorf("after it: %w", err))
		}
	})
}
