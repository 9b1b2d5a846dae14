package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"
)

// algorithmParam is the specification's name for an upload's hash function. We
// put it into the upload's address, so that it comes back with each request.
const algorithmParam = "digest-algorithm"

var contentRange = regexp.MustCompile(`^[0-9]+-[0-9]+$`)

// startUpload answers POST: it mounts a blob, takes a whole one, or begins an
// upload.
func (h *Handler) startUpload(w http.ResponseWriter, r *http.Request, t target) error {
	if h.b.Uploads == nil {
		return errors.ErrUnsupported
	}
	q := r.URL.Query()
	if q.Has("mount") {
		d, err := parseDigest(q.Get("mount"))
		if err != nil {
			return err
		}
		mounted, err := h.mount(r.Context(), t.Repository, q.Get("from"), d)
		if err != nil {
			return err
		}
		if mounted {
			created(w, t, d)
			return nil
		}
	}
	algorithm, err := algorithmOf(q)
	if err != nil {
		return err
	}
	var want digest.Digest
	if q.Has("digest") {
		if want, err = parseDigest(q.Get("digest")); err != nil {
			return err
		}
	}
	id := newID()
	up, err := h.b.Uploads.Begin(r.Context(), t.Repository, id)
	if err != nil {
		return err
	}
	defer up.Close()
	if want == "" {
		progress(w, t.upload(id), algorithm, 0)
		w.WriteHeader(http.StatusAccepted)
		return nil
	}
	s := h.sessions.take(id, want.Algorithm()) // nobody else knows the name
	defer h.sessions.forget(id)
	if err := h.receive(w, r, up, s, -1); err != nil {
		return errors.Join(err, h.b.Uploads.Cancel(context.WithoutCancel(r.Context()), t.Repository, id))
	}
	return h.commit(w, r, t.upload(id), up, s, want)
}

// mount says whether a blob of another repository is now in this one. What is
// refused there is uploaded instead, as the specification has it.
func (h *Handler) mount(ctx context.Context, repository, from string, d digest.Digest) (bool, error) {
	if from != "" && !ValidRepository(from) {
		return false, nil
	}
	err := h.b.Blobs.Mount(ctx, repository, from, d)
	var e *Error
	if IsMissing(err) || errors.Is(err, errors.ErrUnsupported) || errors.As(err, &e) && (e.Code == Denied || e.Code == Unauthorized) {
		return false, nil
	}
	return err == nil, err
}

// upload answers for /v2/NAME/blobs/uploads/ID.
func (h *Handler) upload(w http.ResponseWriter, r *http.Request, t target) error {
	if h.b.Uploads == nil {
		return errors.ErrUnsupported
	}
	algorithm, err := algorithmOf(r.URL.Query())
	switch {
	case !uploadPattern.MatchString(t.Ref):
		return &Error{Code: BlobUploadUnknown, Message: unknownMessage(BlobUploadUnknown)}
	case err != nil:
		return err
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return h.uploadStatus(w, r, t, algorithm)
	case http.MethodPatch, http.MethodPut:
		return h.appendUpload(w, r, t, algorithm)
	case http.MethodDelete:
		if err := h.b.Uploads.Cancel(r.Context(), t.Repository, t.Ref); err != nil {
			return err
		}
		h.sessions.forget(t.Ref)
		w.WriteHeader(http.StatusNoContent)
		return nil
	default:
		return notAllowed(w, http.MethodGet, http.MethodHead, http.MethodPatch, http.MethodPut, http.MethodDelete)
	}
}

func (h *Handler) uploadStatus(w http.ResponseWriter, r *http.Request, t target, a digest.Algorithm) error {
	up, err := h.b.Uploads.Resume(r.Context(), t.Repository, t.Ref)
	if err != nil {
		return err
	}
	defer up.Close()
	progress(w, t, a, up.Size())
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// appendUpload answers PATCH, and PUT, which ends the upload.
func (h *Handler) appendUpload(w http.ResponseWriter, r *http.Request, t target, a digest.Algorithm) error {
	var want digest.Digest
	if r.Method == http.MethodPut {
		d, err := parseDigest(r.URL.Query().Get("digest"))
		if err != nil {
			return err
		}
		want, a = d, d.Algorithm()
	}
	s := h.sessions.take(t.Ref, a) // first: a backend may look at the size but once
	if s == nil {
		return &Error{Code: BlobUploadInvalid, Status: http.StatusConflict, Message: "another request is writing to this upload"}
	}
	defer h.sessions.release(t.Ref, s)
	up, err := h.b.Uploads.Resume(r.Context(), t.Repository, t.Ref)
	if err != nil {
		return err
	}
	defer up.Close()
	length, err := chunk(r, up.Size())
	if err != nil {
		progress(w, t, a, up.Size())
		return err
	}
	if err := h.receive(w, r, up, s, length); err != nil {
		progress(w, t, a, up.Size())
		return err
	}
	if want != "" {
		return h.commit(w, r, t, up, s, want)
	}
	progress(w, t, a, up.Size())
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// receive writes a body to an upload: length bytes, or all for -1. What came
// before an error stays, and the client may go on from there.
func (h *Handler) receive(w http.ResponseWriter, r *http.Request, up Upload, s *session, length int64) error {
	s.sync(up)
	b := h.body(w, r)
	n, err := b.copyTo(hashing{up, s}, length)
	if err != nil || length < 0 {
		return err
	}
	if more, _ := b.Read(make([]byte, 1)); n < length || more > 0 {
		err = &Error{Code: SizeInvalid, Message: "the body has not the length of its Content-Range"}
	}
	b.done()
	return err
}

// commit ends an upload. Bytes of another digest are thrown away.
func (h *Handler) commit(w http.ResponseWriter, r *http.Request, t target, up Upload, s *session, want digest.Digest) error {
	got, err := s.digest(r.Context(), up, want.Algorithm())
	if err != nil {
		return err
	}
	if got != want {
		h.sessions.forget(t.Ref)
		return errors.Join(badDigest(fmt.Sprintf("the bytes have the digest %s, not %s", got, want)),
			h.b.Uploads.Cancel(context.WithoutCancel(r.Context()), t.Repository, t.Ref))
	}
	if err := up.Commit(r.Context(), want); err != nil {
		return err
	}
	h.sessions.forget(t.Ref)
	created(w, t, want)
	return nil
}

// chunk reads the Content-Range of a chunk and returns its length; -1 without.
func chunk(r *http.Request, size int64) (int64, error) {
	field := r.Header.Get("Content-Range")
	if field == "" {
		return -1, nil
	}
	first, last, _ := strings.Cut(field, "-")
	if !contentRange.MatchString(field) || number(last) < number(first) || number(last)+1 < 0 {
		return 0, &Error{Code: BlobUploadInvalid, Message: "Content-Range is FIRST-LAST, two numbers"}
	}
	if number(first) != size {
		return 0, &Error{
			Code: BlobUploadInvalid, Status: http.StatusRequestedRangeNotSatisfiable,
			Message: fmt.Sprintf("the chunk begins at %s, and the upload has %d bytes", first, size),
		}
	}
	length := number(last) + 1 - size
	if r.ContentLength >= 0 && r.ContentLength != length {
		return 0, &Error{Code: SizeInvalid, Message: "Content-Length is not the length of Content-Range"}
	}
	return length, nil
}

// algorithmOf is the hash function that an upload was begun with.
func algorithmOf(q url.Values) (digest.Algorithm, error) {
	if a := digest.Algorithm(q.Get(algorithmParam)); a != "" {
		return a, checkAlgorithm(a)
	}
	return digest.Canonical, nil
}

// upload is an upload of the target's repository.
func (t target) upload(id string) target {
	t.Endpoint, t.Ref = EndUpload, id
	return t
}

// progress sets the headers that tell a client where it is. The range of an
// upload without bytes is written like that of one byte, as every registry does.
func progress(w http.ResponseWriter, t target, a digest.Algorithm, size int64) {
	q := url.Values{}
	if a != digest.Canonical {
		q.Set(algorithmParam, a.String())
	}
	w.Header().Set("Location", t.address("blobs/uploads/"+t.Ref, q))
	w.Header().Set("Range", fmt.Sprintf("0-%d", max(size-1, 0)))
	w.Header().Set("Docker-Upload-UUID", t.Ref)
}

// created answers that a blob is there.
func created(w http.ResponseWriter, t target, d digest.Digest) {
	w.Header().Set("Location", t.address("blobs/"+d.String(), nil))
	w.Header().Set("Docker-Content-Digest", d.String())
	w.WriteHeader(http.StatusCreated)
}
