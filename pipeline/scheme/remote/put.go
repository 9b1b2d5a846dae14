package remote

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
)

// putBlob uploads a blob that is at hand: it looks whether it is there, then
// opens an upload (or takes the one given) and puts all in one request. Any of
// these is done again when it fails in a way that may pass.
func (s *Sink) putBlob(ctx context.Context, d digest.Digest, raw []byte, session *url.URL) error {
	c := s.client
	what := "upload blob " + d.String()
	if err := d.Validate(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if got := d.Algorithm().FromBytes(raw); got != d {
		return pipeline.DigestError(what, d, got)
	}
	err := c.again(ctx, func() error {
		held, err := s.holds(ctx, d)
		if err != nil || held {
			if held && session != nil {
				c.abandon(ctx, session)
			}
			return err
		}
		if session == nil {
			if session, err = c.open(ctx); err != nil {
				return err
			}
		}
		q := call{
			method: http.MethodPut, url: withDigest(session, d), body: raw, patient: true, scope: c.auth.scope,
			header: http.Header{"Content-Type": {"application/octet-stream"}},
		}
		session = nil // whatever comes of it, this one is used
		resp, err := c.once(ctx, q)
		if err != nil {
			return err
		}
		defer discard(resp)
		return confirm(resp, d)
	})
	if err != nil {
		return c.explain(err, what)
	}
	s.hold(d)
	return nil
}

// open opens an upload and returns where its bytes go. It is asked once.
func (c *client) open(ctx context.Context) (*url.URL, error) {
	resp, err := c.once(ctx, call{method: http.MethodPost, url: c.url("blobs/uploads/"), scope: c.auth.scope})
	if err != nil {
		return nil, err
	}
	defer discard(resp)
	return c.location(resp)
}

// location is where an upload goes on. A registry behind a proxy that ends TLS
// may not know better than to say http of itself.
func (c *client) location(resp *http.Response) (*url.URL, error) {
	at := resp.Request.URL
	u, err := at.Parse(resp.Header.Get("Location"))
	if err != nil || resp.Header.Get("Location") == "" || u.Host == "" {
		return nil, fmt.Errorf("%s names no place for the upload", at.Host)
	}
	u.User, u.Fragment = nil, ""
	if at.Scheme == "https" && u.Scheme == "http" {
		if u.Hostname() != at.Hostname() {
			return nil, fmt.Errorf("%s wants the upload in plain HTTP at %s, which is refused", at.Host, u.Host)
		}
		u.Scheme, u.Host = at.Scheme, at.Host
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%s names no place for the upload", at.Host)
	}
	return u, nil
}

// withDigest adds the digest to an upload's address, whose own query is opaque
// and stays as it is.
func withDigest(u *url.URL, d digest.Digest) *url.URL {
	v := *u
	v.RawQuery = strings.TrimPrefix(v.RawQuery+"&digest="+url.QueryEscape(d.String()), "&")
	return &v
}

// confirm compares the digest that a registry says it stored, if it says one.
func confirm(resp *http.Response, want digest.Digest) error {
	got, err := digest.Parse(resp.Header.Get("Docker-Content-Digest"))
	if err == nil && got != want && got.Algorithm() == want.Algorithm() {
		return fmt.Errorf("%w: %s stored %s", pipeline.ErrDigest, resp.Request.URL.Host, got)
	}
	return nil
}

// abandonTime bounds the clean-up of an upload: a user who pressed Ctrl-C waits.
const abandonTime = 2 * time.Second

// abandon tells the registry that an upload is given up, if that can be done
// quickly; registries forget uploads by themselves, later.
func (c *client) abandon(ctx context.Context, u *url.URL) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTime)
	defer cancel()
	resp, err := c.once(ctx, call{method: http.MethodDelete, url: u, scope: c.auth.scope})
	if err != nil {
		c.detail("give up the upload at %s: %v", u.Host, err)
		return
	}
	discard(resp)
}

// put puts a manifest under a tag or digest, and returns the answer's header.
func (s *Sink) put(ctx context.Context, m pipeline.Manifest, version string) (http.Header, error) {
	return s.putIf(ctx, m, version, nil)
}

// putIf is put under a condition; with nil there is none.
func (s *Sink) putIf(ctx context.Context, m pipeline.Manifest, version string, condition http.Header) (http.Header, error) {
	c := s.client
	sep := ":"
	if strings.Contains(version, ":") {
		sep = "@"
	}
	what := "push " + c.ref.Origin() + sep + version
	header := http.Header{"Content-Type": {m.Desc.MediaType}}
	maps.Copy(header, condition)
	resp, err := c.do(ctx, call{
		method: http.MethodPut, url: c.url("manifests/" + version), body: m.Raw, patient: true, scope: c.auth.scope, header: header,
	})
	if err != nil {
		return nil, c.explainPut(err, what)
	}
	defer discard(resp)
	if err := confirm(resp, m.Desc.Digest); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return resp.Header, nil
}

// explainPut says what a registry misses when it refuses a manifest.
func (c *client) explainPut(err error, what string) error {
	var status *StatusError
	if !errors.As(err, &status) {
		return c.explain(err, what)
	}
	switch status.Code {
	case "MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN":
		return fmt.Errorf("%s: the registry lacks a blob that the manifest lists: %w", what, err)
	case "MANIFEST_UNKNOWN":
		return fmt.Errorf("%s: the registry lacks a manifest that the index lists: %w", what, err)
	case "NAME_UNKNOWN":
		return fmt.Errorf("%s: %w (some registries want a repository to be made before the first push)", what, err)
	}
	return c.explain(err, what)
}
