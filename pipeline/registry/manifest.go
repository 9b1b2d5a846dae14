package registry

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"strconv"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxTags is how many tags one manifest may be put with.
const maxTags = 100

// manifest answers for /v2/NAME/manifests/REFERENCE.
func (h *Handler) manifest(w http.ResponseWriter, r *http.Request, t target) error {
	ref, err := t.manifest()
	if err != nil {
		return err
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return h.readManifest(w, r, t.Repository, ref)
	case http.MethodPut:
		return h.putManifest(w, r, t, ref)
	case http.MethodDelete:
		if ref.Tag != "" {
			err = h.b.Tags.Delete(r.Context(), t.Repository, ref.Tag)
		} else {
			err = h.b.Manifests.Delete(r.Context(), t.Repository, ref.Digest)
		}
		if err != nil {
			return err
		}
		w.WriteHeader(http.StatusAccepted)
		return nil
	default:
		return notAllowed(w, http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete)
	}
}

func (h *Handler) readManifest(w http.ResponseWriter, r *http.Request, repository string, ref Ref) (err error) {
	var desc ocispec.Descriptor
	var raw []byte
	if r.Method == http.MethodHead {
		desc, err = h.b.Manifests.Stat(r.Context(), repository, ref)
	} else {
		desc, raw, err = h.b.Manifests.Get(r.Context(), repository, ref)
	}
	if err != nil {
		return err
	}
	describe(w, desc.Digest)
	switch {
	case unchanged(r, desc.Digest):
		w.WriteHeader(http.StatusNotModified)
	case r.Method == http.MethodHead:
		w.Header().Set("Content-Type", desc.MediaType)
		w.Header().Set("Content-Length", strconv.FormatInt(desc.Size, 10))
		w.WriteHeader(http.StatusOK)
	default:
		h.bytes(w, r, desc.MediaType, raw)
	}
	return nil
}

// putManifest stores a manifest whose digest is right and whose parts are there.
func (h *Handler) putManifest(w http.ResponseWriter, r *http.Request, t target, ref Ref) error {
	if h.b.Uploads == nil {
		return &Error{Code: Unsupported, Message: "nothing can be pushed here"}
	}
	tags, err := wantedTags(r, ref)
	if err != nil {
		return err
	}
	raw, err := h.readLimited(w, r)
	if err != nil {
		return err
	}
	algorithm := digest.Canonical
	if ref.Digest != "" {
		algorithm = ref.Digest.Algorithm()
	}
	m, err := ParseManifest(r.Header.Get("Content-Type"), raw, algorithm)
	if got := algorithm.FromBytes(raw); ref.Digest != "" && got != ref.Digest {
		return badDigest(fmt.Sprintf("the manifest has the digest %s, not %s", got, ref.Digest))
	}
	if err != nil {
		return &Error{Code: ManifestInvalid, Message: "the manifest is not valid: " + err.Error()}
	}
	if err := h.checkParts(r.Context(), t.Repository, m); err != nil {
		return err
	}
	extra := http.Header{}
	if err := h.b.Manifests.Put(withHeader(r.Context(), extra), t.Repository, m, tags); err != nil {
		return err
	}
	maps.Copy(w.Header(), extra)
	if m.Subject != nil && h.b.Referrers != nil {
		w.Header().Set("OCI-Subject", m.Subject.Digest.String())
	}
	if ref.Tag == "" {
		for _, tag := range tags {
			w.Header().Add("OCI-Tag", tag)
		}
	}
	w.Header().Set("Location", t.address("manifests/"+m.Desc.Digest.String(), nil))
	w.Header().Set("Docker-Content-Digest", m.Desc.Digest.String())
	w.WriteHeader(http.StatusCreated)
	return nil
}

// wantedTags are the tag of the path, or those of the query beside a digest.
func wantedTags(r *http.Request, ref Ref) ([]string, error) {
	if ref.Tag != "" {
		return []string{ref.Tag}, nil
	}
	tags := r.URL.Query()["tag"]
	if len(tags) > maxTags {
		return nil, &Error{Code: ManifestInvalid, Status: http.StatusRequestURITooLong, Message: fmt.Sprintf("at most %d tags go with one manifest", maxTags)}
	}
	for _, tag := range tags {
		if err := checkTag(tag); err != nil {
			return nil, err
		}
	}
	return tags, nil
}

// readLimited reads a manifest into memory.
func (h *Handler) readLimited(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	limit := h.o.MaxManifest
	tooLarge := &Error{Code: ManifestInvalid, Status: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("a manifest has at most %d bytes here", limit)}
	if r.ContentLength > limit {
		return nil, tooLarge
	}
	var buf bytes.Buffer
	n, err := h.body(w, r).copyTo(&buf, limit+1)
	if err == nil && n > limit {
		err = tooLarge
	}
	return buf.Bytes(), err
}

// checkParts sees to it that all which a manifest names is there.
func (h *Handler) checkParts(ctx context.Context, repository string, m Manifest) error {
	missing, err := h.b.lacks(ctx, repository, m)
	if err == nil && len(missing) > 0 {
		err = &Error{Code: ManifestBlobUnknown, Message: "the manifest names what the repository does not have: " + missing[0].String(), Detail: missing}
	}
	return err
}
