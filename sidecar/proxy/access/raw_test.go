package access_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/occystrap/occystrap/sidecar/proxy/access"
)

// A line of bytes that a test writes to a connection; patience is for slow machines.
const patience = 2 * time.Minute

// seen is a handler that notes what reaches it.
type seen struct {
	mu  sync.Mutex
	all []string
}

func (s *seen) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		s.all = append(s.all, "broken")
		return
	}
	s.all = append(s.all, fmt.Sprintf("%s %s %q", r.Method, r.URL.Path, body))
}

func (s *seen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.all, ", ")
}

// talk writes bytes to a new connection and reads what comes until it is closed.
func talk(t *testing.T, address, bytes string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(c, bytes)
	must(t, err)
	must(t, c.(*net.TCPConn).CloseWrite())
	raw, _ := io.ReadAll(c) // a reset ends it too
	return string(raw)
}

// Request smuggling: what two servers may take for one request or for two. What reaches the
// handler is at most the first; "GET /smuggled" never does.
func TestNothingIsSmuggledBehindARequest(t *testing.T) {
	t.Parallel()
	const hidden = "GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
	const post = "POST /first HTTP/1.1\r\nHost: 127.0.0.1\r\n"
	for name, c := range map[string]struct{ bytes, reaches string }{
		"length and chunks":            {post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden, `POST /first ""`},
		"chunks and length":            {post + "Transfer-Encoding: chunked\r\nContent-Length: " + fmt.Sprint(len(hidden)+5) + "\r\n\r\n0\r\n\r\n" + hidden, `POST /first ""`},
		"chunks alone":                 {post + "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n" + hidden, `POST /first "ab"`},
		"two lengths":                  {post + "Content-Length: 0\r\nContent-Length: 5\r\n\r\n" + hidden, ""},
		"two lengths in one":           {post + "Content-Length: 0, 5\r\n\r\n" + hidden, ""},
		"a length with a sign":         {post + "Content-Length: +0\r\n\r\n" + hidden, ""},
		"a negative length":            {post + "Content-Length: -1\r\n\r\n" + hidden, ""},
		"a length in hexadecimal":      {post + "Content-Length: 0x0\r\n\r\n" + hidden, ""},
		"another encoding":             {post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden, ""},
		"two encodings":                {post + "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n" + hidden, ""},
		"encodings in two lines":       {post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + hidden, ""},
		"a space before the colon":     {post + "Transfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n" + hidden, ""},
		"a tab in the name":            {post + "Transfer-Encoding\t: chunked\r\nContent-Length: 0\r\n\r\n" + hidden, ""},
		"a vertical tab":               {post + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + hidden, ""},
		"a bare CR":                    {post + "X: a\rTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n" + hidden, ""},
		"a NUL":                        {post + "X: \x00\r\nContent-Length: 0\r\n\r\n" + hidden, ""},
		"a name with a bracket":        {post + "X[: 1\r\nContent-Length: 0\r\n\r\n" + hidden, ""},
		"a size of a chunk like no":    {post + "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + hidden, "broken"},
		"a size with a sign":           {post + "Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n" + hidden, "broken"},
		"a size that is too large":     {post + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("f", 17) + "\r\n" + hidden, "broken"},
		"a chunk longer than its size": {post + "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n" + hidden, "broken"},
		"HTTP/1.0 with chunks":         {"POST /first HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n" + hidden, `POST /first ""`},
		"HTTP/0.9":                     {"GET /first\r\n" + hidden, ""},
		"two Hosts":                    {"GET /first HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n" + hidden, ""},
		"no Host":                      {"GET /first HTTP/1.1\r\n\r\n", ""},
		"another Host in the address":  {"GET http://evil.example/first HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", ""},
		"an address with a line":       {"GET /first\r\nX: 1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + hidden, ""},
		"an upgrade":                   {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got seen
			g := guard(t, access.Config{})
			s := serve(t, g, g.Wrap(&got))
			answer := talk(t, s.Listener.Addr().String(), c.bytes)
			if got.String() != c.reaches {
				t.Errorf("%q reaches the handler, want %q; answer:\n%s", got.String(), c.reaches, answer)
			}
			if n := strings.Count(answer, "HTTP/1."); n != 1 && c.reaches != "" || n > 1 {
				t.Errorf("%d answers:\n%s", n, answer)
			}
		})
	}
}

// The test above can fail: of two requests that are nothing but two both are answered.
func TestRequestsInOneConnectionAreAnswered(t *testing.T) {
	t.Parallel()
	var got seen
	g := guard(t, access.Config{})
	s := serve(t, g, g.Wrap(&got))
	answer := talk(t, s.Listener.Addr().String(), "POST /first HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\nabGET /second HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
	if got.String() != `POST /first "ab", GET /second ""` || strings.Count(answer, "HTTP/1.1 200") != 2 {
		t.Errorf("%s\n%s", got.String(), answer)
	}
}

func TestLargeHeadsAreRefused(t *testing.T) {
	t.Parallel()
	var got seen
	g := guard(t, access.Config{})
	s := serve(t, g, g.Wrap(&got))
	for _, field := range []string{"X: " + strings.Repeat("y", 1<<20), strings.Repeat("X: y\r\n", 1<<18) + "X: y"} {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		must(t, err)
		must(t, c.SetDeadline(time.Now().Add(patience)))
		go func() { _, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"+field+"\r\n\r\n") }() // it is not read to its end
		line, err := bufio.NewReader(c).ReadString('\n')
		if err == nil && !strings.Contains(line, "431") {
			t.Errorf("%q", line)
		}
		c.Close()
	}
	if got.String() != "" {
		t.Errorf("%.100q", got.String())
	}
}

// A client that sends its head byte by byte, or nothing, is sent away.
func TestSlowHeadsAreSentAway(t *testing.T) {
	t.Parallel()
	g := guard(t, access.Config{})
	s := g.Server(g.Wrap(http.NotFoundHandler()))
	if s.ReadHeaderTimeout <= 0 || s.ReadHeaderTimeout > 30*time.Second || s.IdleTimeout <= 0 || s.IdleTimeout > 5*time.Minute {
		t.Errorf("time-outs are %v and %v", s.ReadHeaderTimeout, s.IdleTimeout)
	}
	s.ReadHeaderTimeout = 50 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	go func() { _ = s.Serve(l) }()
	defer s.Close()
	for _, begin := range []string{"", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "} {
		c, err := net.Dial("tcp", l.Addr().String())
		must(t, err)
		must(t, c.SetDeadline(time.Now().Add(patience)))
		_, _ = io.WriteString(c, begin)
		if raw, err := io.ReadAll(c); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("after %q the connection stays: %q, %v", begin, raw, err)
		}
		c.Close()
	}
}

// A client whose request is refused, or answered by what reads no body, and that never sends
// the body which it has promised, is sent away.
func TestBodiesThatNobodyWantsAreNotWaitedFor(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it waits for ten seconds")
	}
	g := guard(t, access.Config{Secret: file(t, theSecret)})
	s := serve(t, g, registryBehind(t, g))
	for _, head := range []string{
		"POST /v2/app/blobs/uploads/ HTTP/1.1\r\nHost: evil.example\r\n",
		"PUT /v2/app/manifests/1 HTTP/1.1\r\nHost: 127.0.0.1\r\n",
		"PUT /v2/docker.io/library/app/manifests/1 HTTP/1.1\r\nHost: 127.0.0.1\r\n",
		"GET /token HTTP/1.1\r\nHost: 127.0.0.1\r\n",
	} {
		t.Run(head, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("tcp", s.Listener.Addr().String())
			must(t, err)
			defer c.Close()
			must(t, c.SetDeadline(time.Now().Add(patience)))
			_, err = io.WriteString(c, head+"Content-Length: 10\r\n\r\nhalf")
			must(t, err)
			if raw, err := io.ReadAll(c); err != nil && strings.Contains(err.Error(), "timeout") {
				t.Errorf("the connection stays: %q, %v", raw, err)
			}
		})
	}
}
