package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A repository is one tag in one repository of a registry on this machine. It
// is independent of the tools that are measured, and checks them.
type repository struct {
	host string // 127.0.0.1:PORT
	name string
	tag  string
}

var _ store = repository{}

// ref is the name as command lines take it.
func (r repository) ref() string { return r.host + "/" + r.name + ":" + r.tag }

func (r repository) url(parts string) string {
	return "http://" + r.host + "/v2/" + r.name + "/" + parts
}

func (r repository) root(ctx context.Context) (ocispec.Descriptor, error) {
	resp, err := r.do(ctx, http.MethodHead, r.url("manifests/"+r.tag), nil, http.StatusOK)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer resp.Body.Close()
	d, err := digest.Parse(resp.Header.Get("Docker-Content-Digest"))
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("manifest of %s: %w", r.ref(), err)
	}
	return ocispec.Descriptor{MediaType: resp.Header.Get("Content-Type"), Digest: d, Size: resp.ContentLength}, nil
}

func (r repository) open(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	kind := "blobs/"
	if isManifest(d.MediaType) {
		kind = "manifests/"
	}
	resp, err := r.do(ctx, http.MethodGet, r.url(kind+d.Digest.String()), nil, http.StatusOK)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// holds says whether the repository has the blob in its full size.
func (r repository) holds(ctx context.Context, d ocispec.Descriptor) error {
	resp, err := r.do(ctx, http.MethodHead, r.url("blobs/"+d.Digest.String()), nil, http.StatusOK)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.ContentLength != d.Size {
		return fmt.Errorf("blob %s in %s has %d bytes, not %d", d.Digest, r.ref(), resp.ContentLength, d.Size)
	}
	return nil
}

// push writes an image into the repository. The registry verifies every digest.
func (r repository) push(ctx context.Context, from store, i image) error {
	for _, d := range i.blobs() {
		if err := r.pushBlob(ctx, from, d); err != nil {
			return fmt.Errorf("push %s: %w", d.Digest, err)
		}
	}
	return r.pushManifest(ctx, i)
}

func (r repository) pushManifest(ctx context.Context, i image) error {
	body := upload{Reader: bytes.NewReader(i.Raw), mediaType: i.Desc.MediaType, size: int64(len(i.Raw))}
	resp, err := r.do(ctx, http.MethodPut, r.url("manifests/"+r.tag), &body, http.StatusCreated)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (r repository) pushBlob(ctx context.Context, from store, d ocispec.Descriptor) error {
	resp, err := r.do(ctx, http.MethodPost, r.url("blobs/uploads/"), nil, http.StatusAccepted)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	to, err := resp.Location()
	if err != nil {
		return err
	}
	to.RawQuery += "&" + url.Values{"digest": {d.Digest.String()}}.Encode()
	blob, err := from.open(ctx, d)
	if err != nil {
		return err
	}
	defer blob.Close()
	body := upload{Reader: blob, mediaType: "application/octet-stream", size: d.Size}
	resp, err = r.do(ctx, http.MethodPut, to.String(), &body, http.StatusCreated)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// An upload is a request's body.
type upload struct {
	io.Reader
	mediaType string
	size      int64
}

// do sends a request and wants an answer with this status; the caller closes
// its body.
func (r repository) do(ctx context.Context, method, target string, body *upload, status int) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, http.NoBody)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Body, req.ContentLength = io.NopCloser(body), body.size
		req.Header.Set("Content-Type", body.mediaType)
	}
	for _, t := range manifestTypes {
		req.Header.Add("Accept", t)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != status {
		return nil, errors.Join(fmt.Errorf("%s %s: %s", method, target, resp.Status), resp.Body.Close())
	}
	return resp, nil
}
