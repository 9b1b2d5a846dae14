package proxytest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// A Client pushes and pulls as the specification says, and verifies every byte. It
// may be used by many goroutines.
type Client struct {
	// Base is where the registry is: "http://127.0.0.1:5000".
	Base string
	// HTTP makes the requests; nil is http.DefaultClient.
	HTTP *http.Client
	// Edit, if set, changes every request before it is sent.
	Edit func(*http.Request)
}

// An Answer is a whole answer.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// A StatusError is an answer other than the one that was hoped for.
type StatusError struct {
	What string
	Answer
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s: status %d: %.300s", e.What, e.Status, e.Body)
}

// Code is the error code of the specification in an answer; "" where there is none.
func (a Answer) Code() string {
	var doc struct {
		Errors []struct {
			Code string `json:"code"`
		} `json:"errors"`
	}
	if json.Unmarshal(a.Body, &doc) != nil || len(doc.Errors) == 0 {
		return ""
	}
	return doc.Errors[0].Code
}

// Do makes a request and reads the answer. Header is a list of names and values. That
// the answer is cut is an error; any status is none.
func (c *Client) Do(ctx context.Context, method, path string, body []byte, header ...string) (a Answer, err error) {
	req, err := http.NewRequestWithContext(ctx, method, c.Base+path, bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	for i := range len(header) / 2 {
		req.Header.Set(header[2*i], header[2*i+1])
	}
	if c.Edit != nil {
		c.Edit(req)
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	a.Status, a.Header = resp.StatusCode, resp.Header
	a.Body, err = io.ReadAll(resp.Body)
	return a, err
}

// want is Do with one good status.
func (c *Client) want(ctx context.Context, status int, method, path string, body []byte, header ...string) (Answer, error) {
	a, err := c.Do(ctx, method, path, body, header...)
	if err == nil && a.Status != status {
		err = &StatusError{method + " " + path, a}
	}
	return a, err
}

// Stored is the header that names the digest under which a pushed image is kept, where
// it is another one than that which was sent.
const Stored = "Occystrap-Digest"

// Push pushes what a root reaches in a store, under a tag, or by digest alone where
// that is "". It returns the digest under which the registry says that it keeps it.
func (c *Client) Push(ctx context.Context, repository string, s *pipelinetest.Store, root ocispec.Descriptor, tag string) (digest.Digest, error) {
	raw := s.Bytes(root.Digest)
	blobs, children, err := parts(root.MediaType, raw)
	if err != nil {
		return "", err
	}
	for _, d := range children {
		if _, err := c.Push(ctx, repository, s, d, ""); err != nil {
			return "", err
		}
	}
	for _, d := range blobs {
		if err := c.PushBlob(ctx, repository, s.Bytes(d.Digest)); err != nil {
			return "", err
		}
	}
	if tag == "" {
		tag = root.Digest.String()
	}
	a, err := c.want(ctx, http.StatusCreated, http.MethodPut, "/v2/"+repository+"/manifests/"+tag, raw, "Content-Type", root.MediaType)
	if err != nil {
		return "", err
	}
	if got := a.Header.Get("Docker-Content-Digest"); got != root.Digest.String() {
		return "", fmt.Errorf("manifest %s was answered as %s", root.Digest, got)
	}
	if stored := a.Header.Get(Stored); stored != "" {
		return digest.Parse(stored)
	}
	return root.Digest, nil
}

// PushBlob pushes a blob that is not there yet.
func (c *Client) PushBlob(ctx context.Context, repository string, content []byte) error {
	d := digest.FromBytes(content)
	head, err := c.Do(ctx, http.MethodHead, "/v2/"+repository+"/blobs/"+d.String(), nil)
	if err != nil || head.Status == http.StatusOK {
		return err
	}
	a, err := c.want(ctx, http.StatusAccepted, http.MethodPost, "/v2/"+repository+"/blobs/uploads/", nil)
	if err != nil {
		return err
	}
	to, err := url.Parse(a.Header.Get("Location"))
	if err != nil {
		return err
	}
	q := to.Query()
	q.Set("digest", d.String())
	_, err = c.want(ctx, http.StatusCreated, http.MethodPut, to.Path+"?"+q.Encode(), content)
	return err
}

// ErrBytes is that a registry served other bytes than it said.
var ErrBytes = errors.New("other bytes than promised")

// Accept is what a client says that it understands.
var Accept = strings.Join([]string{
	ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, pipeline.MediaTypeDockerManifestList, pipeline.MediaTypeDockerManifest,
}, ", ")

// Pull pulls all that a name leads to, and returns the digest of its root. Query is
// what stands behind each address ("ns=docker.io"), or "". What comes and is not what it
// should be is ErrBytes.
func (c *Client) Pull(ctx context.Context, repository, ref, query string) (digest.Digest, error) {
	if query != "" {
		query = "?" + query
	}
	a, err := c.want(ctx, http.StatusOK, http.MethodGet, "/v2/"+repository+"/manifests/"+ref+query, nil, "Accept", Accept)
	if err != nil {
		return "", err
	}
	got := digest.FromBytes(a.Body)
	if said := a.Header.Get("Docker-Content-Digest"); said != got.String() {
		return "", fmt.Errorf("manifest %s of %s: %w: it is %s and said to be %s", ref, repository, ErrBytes, got, said)
	}
	if want, err := digest.Parse(ref); err == nil && want != got {
		return "", fmt.Errorf("manifest %s of %s: %w: it is %s", ref, repository, ErrBytes, got)
	}
	blobs, children, err := parts(a.Header.Get("Content-Type"), a.Body)
	if err != nil {
		return "", err
	}
	for _, d := range children {
		if _, err := c.Pull(ctx, repository, d.Digest.String(), strings.TrimPrefix(query, "?")); err != nil {
			return "", fmt.Errorf("of index %s: %w", got, err)
		}
	}
	for _, d := range blobs {
		if err := c.PullBlob(ctx, repository, d, query); err != nil {
			return "", fmt.Errorf("of manifest %s: %w", got, err)
		}
	}
	return got, nil
}

// PullBlob reads a blob.
func (c *Client) PullBlob(ctx context.Context, repository string, d ocispec.Descriptor, query string) error {
	a, err := c.want(ctx, http.StatusOK, http.MethodGet, "/v2/"+repository+"/blobs/"+d.Digest.String()+query, nil)
	if err != nil {
		return err
	}
	if got := digest.FromBytes(a.Body); got != d.Digest || int64(len(a.Body)) != d.Size {
		return fmt.Errorf("blob %s of %s: %w: %d bytes of %s", d.Digest, repository, ErrBytes, len(a.Body), got)
	}
	return nil
}

// Tags lists a repository; none where it is not there.
func (c *Client) Tags(ctx context.Context, repository string) ([]string, error) {
	a, err := c.Do(ctx, http.MethodGet, "/v2/"+repository+"/tags/list", nil)
	if err != nil || a.Status == http.StatusNotFound {
		return nil, err
	}
	var list struct {
		Tags []string `json:"tags"`
	}
	if a.Status != http.StatusOK {
		return nil, &StatusError{"tags of " + repository, a}
	}
	return list.Tags, json.Unmarshal(a.Body, &list)
}

// parts are what a manifest consists of.
func parts(mediaType string, raw []byte) (blobs, children []ocispec.Descriptor, err error) {
	var doc struct {
		Config    *ocispec.Descriptor  `json:"config"`
		Layers    []ocispec.Descriptor `json:"layers"`
		Manifests []ocispec.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, nil, fmt.Errorf("a manifest is no JSON: %w", err)
	}
	if pipeline.IsIndex(mediaType) {
		return nil, doc.Manifests, nil
	}
	if doc.Config == nil {
		return nil, nil, fmt.Errorf("a manifest of type %q has no config: %.100s", mediaType, raw)
	}
	return append(doc.Layers, *doc.Config), nil, nil
}
