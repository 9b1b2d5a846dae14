package registry

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
)

const blobType = "application/octet-stream"

// blob answers for /v2/NAME/blobs/DIGEST.
func (h *Handler) blob(w http.ResponseWriter, r *http.Request, t target) error {
	d, err := t.digest()
	if err != nil {
		return err
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return h.readBlob(w, r, t.Repository, d)
	case http.MethodDelete:
		if err := h.b.Blobs.Delete(r.Context(), t.Repository, d); err != nil {
			return err
		}
		w.WriteHeader(http.StatusAccepted)
		return nil
	default:
		return notAllowed(w, http.MethodGet, http.MethodHead, http.MethodDelete)
	}
}

// readBlob sends a blob or one range of it.
func (h *Handler) readBlob(w http.ResponseWriter, r *http.Request, repository string, d digest.Digest) error {
	ctx := r.Context()
	if r.Method == http.MethodGet && !unchanged(r, d) {
		ctx = willRead(ctx)
	}
	size, err := h.b.Blobs.Stat(ctx, repository, d)
	if err != nil {
		return err
	}
	describe(w, d)
	w.Header().Set("Accept-Ranges", "bytes")
	if unchanged(r, d) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	rg, part, err := wantedRange(r, d, size)
	if err != nil {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", size))
		return err
	}
	var src io.ReadCloser
	if r.Method != http.MethodHead {
		if src, err = h.b.Blobs.Open(r.Context(), repository, d, rg.start); err != nil {
			return err
		}
		defer src.Close()
	}
	status := http.StatusOK
	if part {
		status = http.StatusPartialContent
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", rg.start, rg.start+rg.length-1, size))
	}
	w.Header().Set("Content-Type", blobType)
	w.Header().Set("Content-Length", strconv.FormatInt(rg.length, 10))
	w.WriteHeader(status)
	if src != nil {
		h.send(w, r, src, rg.length)
	}
	return nil
}

// describe sets the headers that name content by its digest.
func describe(w http.ResponseWriter, d digest.Digest) {
	w.Header().Set("Docker-Content-Digest", d.String())
	w.Header().Set("ETag", etag(d))
}

// etag is strong: the bytes of a digest never change.
func etag(d digest.Digest) string { return `"` + d.String() + `"` }

// unchanged says whether the client has the content (RFC 9110, If-None-Match).
func unchanged(r *http.Request, d digest.Digest) bool {
	for _, field := range r.Header.Values("If-None-Match") {
		if slices.ContainsFunc(strings.Split(field, ","), func(tag string) bool {
			tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
			return tag == "*" || tag == etag(d)
		}) {
			return true
		}
	}
	return false
}

// A span is a range of bytes.
type span struct{ start, length int64 }

// wantedRange reads the Range header (RFC 9110, section 14). Several ranges,
// and what is no range of bytes, are answered with everything, which the RFC
// allows; part is false then.
func wantedRange(r *http.Request, d digest.Digest, size int64) (s span, part bool, err error) {
	all := span{0, size}
	spec, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	if cond := r.Header.Get("If-Range"); !ok || r.Method != http.MethodGet || strings.Contains(spec, ",") || cond != "" && cond != etag(d) {
		return all, false, nil
	}
	first, last, ok := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok || first == "" && last == "" || !digits(first) || !digits(last) {
		return all, false, nil
	}
	from, end := number(first), size
	switch {
	case first == "":
		from = size - min(number(last), size)
	case last != "":
		end = min(number(last), size-1) + 1
	}
	if from >= end {
		return all, false, &Error{Code: Unsupported, Status: http.StatusRequestedRangeNotSatisfiable, Message: "the range is outside the blob"}
	}
	return span{from, end - from}, true, nil
}

// digits says whether s has no other characters.
func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// number reads digits; more than an int64 holds is the largest.
func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64) // out of range gives the largest
	return n
}
