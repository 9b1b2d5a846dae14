package pipelinetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/registry"
)

// served is a backend as clients see it: what the specification's conformance
// program asks of a registry, as far as it depends on the backend.
type served struct {
	*backend
	h http.Handler
}

func (b *backend) served() served {
	return served{b, registry.New(b.Backend, registry.Options{
		Failed: func(r *http.Request, err error) { b.t.Errorf("%s %s: %v", r.Method, r.URL, err) },
	})}
}

// ask makes a request of repoA and complains unless the answer has a status.
func (s served) ask(want int, method, path string, body []byte, header ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	if !strings.HasPrefix(path, "/v2/") {
		path = "/v2/" + repoA + "/" + path
	}
	r := httptest.NewRequestWithContext(s.ctx(), method, path, bytes.NewReader(body))
	for field := range slices.Chunk(header, 2) { // a name and a value
		r.Header.Set(field[0], field[1])
	}
	rec := httptest.NewRecorder()
	s.h.ServeHTTP(rec, r)
	if rec.Code != want {
		s.t.Fatalf("%s %s: status %d, want %d: %.300s", method, path, rec.Code, want, rec.Body)
	}
	return rec
}

// way is one of the ways to push a blob; the last request gets the status end.
type way func(s served, content []byte, d digest.Digest, end int)

var ways = map[string]way{
	"post": func(s served, content []byte, d digest.Digest, end int) {
		s.ask(end, http.MethodPost, "blobs/uploads/?digest="+d.String(), content)
	},
	"post and put": func(s served, content []byte, d digest.Digest, end int) {
		s.ask(end, http.MethodPut, s.next(s.ask(http.StatusAccepted, http.MethodPost, "blobs/uploads/", nil), d), content)
	},
	"streamed": func(s served, content []byte, d digest.Digest, end int) {
		to := s.next(s.ask(http.StatusAccepted, http.MethodPost, "blobs/uploads/?digest-algorithm="+d.Algorithm().String(), nil), "")
		s.ask(end, http.MethodPut, s.next(s.ask(http.StatusAccepted, http.MethodPatch, to, content), d), nil)
	},
	"chunks": func(s served, content []byte, d digest.Digest, end int) {
		s.ask(end, http.MethodPut, s.next(s.chunks(content, d), d), nil)
	},
	"chunks, the last with put": func(s served, content []byte, d digest.Digest, end int) {
		half := len(content) / 2
		to := s.next(s.chunks(content[:half], d), d)
		s.ask(end, http.MethodPut, to, content[half:], "Content-Range", fmt.Sprintf("%d-%d", half, len(content)-1))
	},
}

// next is where an upload goes on, with the digest that ends it.
func (s served) next(r *httptest.ResponseRecorder, d digest.Digest) string {
	s.t.Helper()
	to := r.Header().Get("Location")
	switch {
	case to == "":
		s.t.Fatal("an upload says not where it goes on")
	case d == "":
		return to
	case strings.Contains(to, "?"):
		return to + "&digest=" + d.String()
	}
	return to + "?digest=" + d.String()
}

// chunks sends two chunks, and some that do not follow.
func (s served) chunks(content []byte, d digest.Digest) *httptest.ResponseRecorder {
	s.t.Helper()
	r := s.ask(http.StatusAccepted, http.MethodPost, "blobs/uploads/?digest-algorithm="+d.Algorithm().String(), nil)
	third := len(content) / 3
	for _, c := range []struct{ want, first, end int }{
		{http.StatusRequestedRangeNotSatisfiable, third, len(content)},
		{http.StatusAccepted, 0, third},
		{http.StatusRequestedRangeNotSatisfiable, 0, third},
		{http.StatusAccepted, third, len(content)},
	} {
		to := s.next(r, "")
		got := s.ask(c.want, http.MethodPatch, to, content[c.first:c.end], "Content-Range", fmt.Sprintf("%d-%d", c.first, c.end-1))
		if c.want == http.StatusAccepted {
			if want := fmt.Sprintf("0-%d", c.end-1); got.Header().Get("Range") != want {
				s.t.Errorf("after a chunk the range is %q, want %q", got.Header().Get("Range"), want)
			}
			r = got
		}
		s.ask(http.StatusNoContent, http.MethodGet, s.next(r, ""), nil)
	}
	return r
}

// gone complains unless a blob of repoA cannot be had.
func (s served) gone(d digest.Digest) {
	s.t.Helper()
	for _, method := range []string{http.MethodHead, http.MethodGet, http.MethodDelete} {
		s.ask(http.StatusNotFound, method, "blobs/"+d.String(), nil)
	}
}

// serves complains unless a blob of repoA is served, whole and in parts.
func (s served) serves(content []byte, d digest.Digest) {
	s.t.Helper()
	if head := s.ask(http.StatusOK, http.MethodHead, "blobs/"+d.String(), nil); head.Header().Get("Content-Length") != fmt.Sprint(len(content)) {
		s.t.Errorf("HEAD says %q bytes, not %d", head.Header().Get("Content-Length"), len(content))
	}
	if got := s.ask(http.StatusOK, http.MethodGet, "blobs/"+d.String(), nil); !bytes.Equal(got.Body.Bytes(), content) {
		s.t.Errorf("blob %s has other bytes", d)
	}
	if len(content) == 0 {
		return
	}
	half, last := len(content)/2, len(content)-1
	for spec, want := range map[string][]byte{
		fmt.Sprintf("bytes=%d-", half): content[half:], fmt.Sprintf("bytes=-%d", half): content[len(content)-half:],
		"bytes=0-0": content[:1], fmt.Sprintf("bytes=%d-%d", last, last+100): content[last:],
	} {
		if got := s.ask(http.StatusPartialContent, http.MethodGet, "blobs/"+d.String(), nil, "Range", spec); !bytes.Equal(got.Body.Bytes(), want) {
			s.t.Errorf("%s are other bytes", spec)
		}
	}
	s.ask(http.StatusRequestedRangeNotSatisfiable, http.MethodGet, "blobs/"+d.String(), nil, "Range", fmt.Sprintf("bytes=%d-", len(content)))
}

// servesBlobs pushes blobs in every way, by each hash function.
func (b *backend) servesBlobs() {
	s := b.served()
	for _, a := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		for name, push := range ways {
			content := bytes.Repeat([]byte(name+a.String()), 200)
			d, wrong := a.FromBytes(content), a.FromString("other"+name)
			s.gone(d)
			push(s, content, wrong, http.StatusBadRequest)
			s.gone(wrong)
			s.gone(d)
			push(s, content, d, http.StatusCreated)
			s.serves(content, d)
			s.mounted(content, d)
			s.ask(http.StatusAccepted, http.MethodDelete, "blobs/"+d.String(), nil)
			s.gone(d)
		}
		for _, small := range []string{"", "{}"} {
			d := a.FromString(small)
			ways["post and put"](s, []byte(small), d, http.StatusCreated)
			s.serves([]byte(small), d)
		}
	}
	to := s.next(s.ask(http.StatusAccepted, http.MethodPost, "blobs/uploads/", nil), "")
	s.ask(http.StatusNoContent, http.MethodDelete, to, nil)
	for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodPut, http.MethodDelete} {
		path := to
		if method == http.MethodPut {
			path += "?digest=" + digest.FromString("").String()
		}
		s.ask(http.StatusNotFound, method, path, nil)
	}
}

// mounted mounts a blob of repoA elsewhere, and deletes it there.
func (s served) mounted(content []byte, d digest.Digest) {
	s.t.Helper()
	for _, from := range []string{"&from=" + repoA, ""} {
		s.ask(http.StatusCreated, http.MethodPost, "/v2/third/blobs/uploads/?mount="+d.String()+from, nil)
		if got := s.ask(http.StatusOK, http.MethodGet, "/v2/third/blobs/"+d.String(), nil); !bytes.Equal(got.Body.Bytes(), content) {
			s.t.Errorf("blob %s has other bytes where it was mounted", d)
		}
		s.ask(http.StatusAccepted, http.MethodDelete, "/v2/third/blobs/"+d.String(), nil)
		s.ask(http.StatusNotFound, http.MethodGet, "/v2/third/blobs/"+d.String(), nil)
	}
	s.serves(content, d)
	unknown := d.Algorithm().FromString("unknown")
	s.ask(http.StatusAccepted, http.MethodPost, "/v2/third/blobs/uploads/?mount="+unknown.String()+"&from="+repoA, nil)
}

// index decodes an answer.
func (s served) index(r *httptest.ResponseRecorder) (idx ocispec.Index) {
	s.t.Helper()
	s.must(json.Unmarshal(r.Body.Bytes(), &idx))
	return idx
}
