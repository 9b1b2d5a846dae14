package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// A client talks to one repository of one registry. It may be used by many
// goroutines at once.
type client struct {
	ref       Reference
	cfg       Config
	transport transport
	auth      *authorizer
	gate      *gate
	credsFlag string // names the flag that takes a login, for messages

	holds bool // a registry that wants no requests for now gets none
	*site
}

// A site is what was learnt of a registry, which all its repositories share.
type site struct {
	plain  atomic.Bool // plain HTTP is spoken
	proved atomic.Bool // the registry has answered in the present protocol

	noReferrers atomic.Bool               // the registry has no referrers API
	realm       atomic.Pointer[challenge] // where it last sent somebody for a token
	budget      budget
}

// client makes the client of an end. CredsFlag names the flag that takes its
// login, scope what its tokens must be good for.
func (e *end) client(credsFlag string, want func(repository string) scope) *client {
	c := &client{
		ref: e.ref, cfg: e.cfg, transport: e.transport, credsFlag: credsFlag,
		gate: e.gate, site: e.site,
	}
	if c.gate == nil {
		c.gate = newGate(e.cfg.Workers)
	}
	if c.site == nil {
		c.site = newSite(e.cfg)
	}
	c.auth = newAuthorizer(c, e.keys, want(e.ref.Repository))
	return c
}

func newSite(cfg Config) *site {
	s := &site{}
	s.plain.Store(cfg.Insecure)
	return s
}

// A call is one request, which may be sent several times.
type call struct {
	method string
	url    *url.URL
	header http.Header
	body   []byte
	scope  scope
	ok     []int // statuses besides 2xx that are no error
	// patient: the registry may have work to do before it answers.
	patient bool
}

const (
	// maxAuthRounds: no token, a token, a token for more.
	maxAuthRounds = 3
	maxRedirects  = 10
	// patience is how much longer than a stall an answer may take when the
	// registry must move a whole blob into its store first.
	patience = 10
	// drainSize is what is read of an answer nobody wants, so that its
	// connection can be used again.
	drainSize = 64 << 10
)

// url is an address below the repository: "manifests/latest".
func (c *client) url(path string) *url.URL {
	u := &url.URL{Scheme: "https", Host: c.ref.api(), Path: "/v2/" + c.ref.Repository + "/" + path}
	if c.plain.Load() {
		u.Scheme = "http"
	}
	return u
}

// home says whether an address is the registry's own, to which logins go.
func (c *client) home(u *url.URL) bool {
	scheme := "https"
	if c.plain.Load() {
		scheme = "http"
	}
	return u.Scheme == scheme && strings.EqualFold(authority(u), authority(&url.URL{Scheme: scheme, Host: c.ref.api()}))
}

// authority is a host with its port written out.
func authority(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	return u.Host + map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
}

// do sends a call until it is answered with success, or fails for good. The
// caller closes the body.
func (c *client) do(ctx context.Context, q call) (*http.Response, error) {
	var resp *http.Response
	err := c.again(ctx, func() (err error) {
		resp, err = c.once(ctx, q) //nolint:bodyclose // the caller of do closes it
		return err
	})
	return resp, err
}

// once sends a call, as somebody if the registry asks who.
func (c *client) once(ctx context.Context, q call) (*http.Response, error) {
	for round := 0; ; round++ {
		authorization, err := c.auth.header(ctx, q.scope)
		if err != nil {
			return nil, err
		}
		resp, err := c.send(ctx, q, authorization)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode/100 == 2 {
			return resp, nil
		}
		for _, ok := range q.ok {
			if resp.StatusCode == ok {
				return resp, nil
			}
		}
		refusal := statusError(resp)
		discard(resp)
		if refusal.Status == http.StatusTooManyRequests && c.holds && refusal.retryAfter == 0 {
			refusal.retryAfter = max(0, time.Until(c.budget.get().Until))
		}
		if refusal.Status != http.StatusUnauthorized || !c.home(resp.Request.URL) || round+1 == maxAuthRounds {
			return nil, refusal
		}
		if err := c.auth.learn(ctx, resp.Header, q.scope, authorization, round, refusal); err != nil {
			return nil, err
		}
	}
}

// send makes one request and follows its redirects. Any status is an answer.
func (c *client) send(ctx context.Context, q call, authorization string) (*http.Response, error) {
	if err := c.heldBack(time.Now()); err != nil {
		return nil, err
	}
	leave, err := c.gate.enter(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := c.follow(ctx, q, authorization, leave)
	if err != nil {
		leave()
	}
	return resp, err
}

func (c *client) follow(ctx context.Context, q call, authorization string, leave func()) (*http.Response, error) {
	u := c.adjust(q.url)
	for hop := 0; ; hop++ {
		resp, err := c.roundTrip(ctx, q, u, authorization, leave)
		if err != nil && c.fallBack(u, err) {
			u = c.adjust(u)
			continue
		}
		if err != nil {
			return nil, c.connection(u, err)
		}
		if c.home(u) {
			c.proved.Store(true)
			c.budget.note(resp, time.Now())
		}
		next, err := c.redirect(resp, q.method)
		if next == nil && err == nil {
			return resp, nil
		}
		drain(resp)
		_ = resp.Body.(*answer).body.Close() //nolint:forcetypeassert // roundTrip made it
		resp.Body.(*answer).cancel(errClosed)
		if err == nil && hop == maxRedirects {
			err = fmt.Errorf("%s redirects in circles (%d times)", u.Host, hop)
		}
		if err != nil {
			return nil, err
		}
		u = next
	}
}

// adjust gives an address of the registry the protocol that is spoken now.
func (c *client) adjust(u *url.URL) *url.URL {
	if c.plain.Load() && u.Scheme == "https" && strings.EqualFold(u.Host, c.ref.api()) {
		v := *u
		v.Scheme = "http"
		return &v
	}
	return u
}

// fallBack turns to plain HTTP when a loopback registry does not speak TLS, as
// Docker does (moby, "isSecureIndex": 127.0.0.0/8 counts as insecure).
func (c *client) fallBack(u *url.URL, err error) bool {
	if u.Scheme != "https" || !strings.EqualFold(u.Host, c.ref.api()) || !isLoopback(u.Host) || c.cfg.Insecure {
		return false
	}
	if c.plain.Load() {
		return true // another request found out meanwhile
	}
	if c.proved.Load() {
		return false
	}
	hungUp := errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
	if !isPlain(err) && !hungUp {
		return false
	}
	c.detail("%s does not speak TLS; it is on this machine: going on in plain HTTP", u.Host)
	c.plain.Store(true)
	return true
}

// connection adds the remedy, where there is one, to a failed connection.
func (c *client) connection(u *url.URL, err error) error {
	if isPlain(err) {
		return fmt.Errorf("%s answers in plain HTTP; add ?insecure=true to use it all the same", u.Host)
	}
	return fmt.Errorf("connect to %s: %w", u.Host, err)
}

// redirect returns where an answer points to, nil if nowhere.
func (c *client) redirect(resp *http.Response, method string) (*url.URL, error) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther:
		if method != http.MethodGet && method != http.MethodHead {
			return nil, nil //nolint:nilnil // the status is the caller's error
		}
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil //nolint:nilnil // no redirect
	}
	from := resp.Request.URL
	to, err := from.Parse(resp.Header.Get("Location"))
	if err != nil || to.Host == "" || to.Scheme != "http" && to.Scheme != "https" {
		return nil, fmt.Errorf("%s redirects to no address", from.Host)
	}
	if from.Scheme == "https" && to.Scheme == "http" {
		return nil, fmt.Errorf("%s redirects from HTTPS to plain HTTP on %s, which is refused", from.Host, to.Host)
	}
	to.User = nil
	return to, nil
}

// roundTrip makes one request to one address. The login goes with it only if
// the address is the registry's own.
func (c *client) roundTrip(ctx context.Context, q call, u *url.URL, authorization string, leave func()) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	limit := c.cfg.Stall
	if q.patient {
		limit *= patience
	}
	dog := newWatchdog(limit, cancel)
	var body io.Reader
	if len(q.body) > 0 { // an empty body that is not nil would be sent in chunks
		body = &limited{ctx: ctx, r: bytes.NewReader(q.body), limit: c.cfg.Limiter}
	}
	req, err := http.NewRequestWithContext(ctx, q.method, u.String(), body)
	if err != nil {
		dog.timer.Stop()
		cancel(err)
		return nil, fmt.Errorf("%s: bad address", u.Host)
	}
	req.ContentLength = int64(len(q.body))
	c.fill(req, q.header, authorization)
	start := time.Now()
	resp, err := c.transport.RoundTrip(req)
	dog.timer.Stop()
	if err != nil {
		err = connectionError(ctx, err)
		cancel(err)
		return nil, err
	}
	dog.limit = c.cfg.Stall
	c.detail("%s %s%s: %d (%s)", q.method, u.Host, u.Path, resp.StatusCode, time.Since(start).Round(time.Millisecond))
	resp.Body = &answer{ctx: ctx, cancel: cancel, body: resp.Body, dog: dog, limit: c.cfg.Limiter, gate: c.gate, leave: leave}
	return resp, nil
}

// fill sets a request's header.
func (c *client) fill(req *http.Request, header http.Header, authorization string) {
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	if authorization != "" && c.home(req.URL) {
		req.Header.Set("Authorization", authorization)
	}
}

// detail emits a line for --verbose. Paths are shown, queries never: they hold
// the signatures of redirected addresses and the state of uploads.
func (c *client) detail(format string, args ...any) {
	if c.cfg.Events != nil {
		c.cfg.Events.Detail(fmt.Sprintf(format, args...))
	}
}

// drain reads the little that is left of an unwanted answer.
func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, drainSize) // a failure only costs the connection
}

// discard ends an answer whose body nobody wants.
func discard(resp *http.Response) {
	drain(resp)
	_ = resp.Body.Close()
}
