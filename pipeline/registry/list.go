package registry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// maxPage is how many tags one answer has; a Link leads on.
	maxPage = 10_000
	// maxReferrers is the size of the descriptors in one list of referrers: what every
	// client must take as a manifest is 4 MiB (specification, "Pushing Manifests").
	maxReferrers = 4<<20 - 4<<10
)

// listTags answers for /v2/NAME/tags/list.
func (h *Handler) listTags(w http.ResponseWriter, r *http.Request, t target) error {
	q := r.URL.Query()
	n := maxPage
	if q.Has("n") {
		if !digits(q.Get("n")) || q.Get("n") == "" {
			return &Error{Code: Unsupported, Status: http.StatusBadRequest, Message: "n is a number of tags"}
		}
		n = int(min(number(q.Get("n")), maxPage))
	}
	last := q.Get("last")
	if last != "" {
		if err := checkTag(last); err != nil {
			return err
		}
	}
	tags, err := h.b.Tags.List(r.Context(), t.Repository, last, n+1)
	if err != nil {
		return err
	}
	if len(tags) > n {
		tags = tags[:n]
		if n > 0 {
			next(w, t.address("tags/list", url.Values{"n": {strconv.Itoa(n)}, "last": {tags[n-1]}}))
		}
	}
	if tags == nil {
		tags = []string{} // "null" is no list
	}
	return h.json(w, r, "application/json", struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{t.as.Name, tags})
}

// next leads to the next page (RFC 8288). The address is made of what was checked, so
// that nothing in it needs to be escaped.
func next(w http.ResponseWriter, address string) {
	w.Header().Set("Link", "<"+address+`>; rel="next"`)
}

// listReferrers answers for /v2/NAME/referrers/DIGEST.
func (h *Handler) listReferrers(w http.ResponseWriter, r *http.Request, t target) error {
	if h.b.Referrers == nil {
		return &Error{Code: Unsupported, Status: http.StatusNotFound, Message: "referrers are not listed here"}
	}
	subject, err := t.digest()
	if err != nil {
		return err
	}
	list, err := h.b.Referrers.List(r.Context(), t.Repository, subject)
	if err != nil && !IsMissing(err) { // "MUST NOT return a 404"
		return err
	}
	q := r.URL.Query()
	kind := q.Get("artifactType")
	if kind != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	last := digest.Digest(q.Get("last"))
	list = slices.DeleteFunc(slices.Clone(list), func(d ocispec.Descriptor) bool {
		return kind != "" && d.ArtifactType != kind || d.Digest <= last
	})
	slices.SortFunc(list, func(a, b ocispec.Descriptor) int { return strings.Compare(a.Digest.String(), b.Digest.String()) })
	page, err := firstPage(list)
	if err != nil {
		return err
	}
	if len(page) < len(list) {
		more := url.Values{"last": {page[len(page)-1].Digest.String()}}
		if kind != "" {
			more.Set("artifactType", kind)
		}
		next(w, t.address("referrers/"+subject.String(), more))
	}
	return h.json(w, r, ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: page,
	})
}

// firstPage is as much of a list as goes into one answer: at least one.
func firstPage(list []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	size := 0
	for i, d := range list {
		raw, err := json.Marshal(d)
		if err != nil {
			return nil, fmt.Errorf("encode a referrer: %w", err)
		}
		if size += len(raw) + 1; size > maxReferrers && i > 0 {
			return list[:i], nil
		}
	}
	if list == nil {
		list = []ocispec.Descriptor{}
	}
	return list, nil
}
