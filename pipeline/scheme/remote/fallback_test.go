package remote_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// A list that is there already keeps what it has, bytes and all; what is in it is
// not added again.
func TestListOfReferrersIsMerged(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	far := serve(t, emptyRegistry())
	tag := pipeline.ReferrersTag(s.image.Digest)
	theirs := s.Store.Referrer(t, s.image, "theirs")
	body := string(s.Store.Bytes(theirs.Digest))
	s.Store.Delete(theirs.Digest)
	put(t, far, theirs.Digest.String(), theirs.MediaType, body)
	foreign := `{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + theirs.Digest.String() + `","size":7,"x":1}`
	put(t, far, tag, ocispec.MediaTypeImageIndex, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[`+foreign+`],"y":2}`)
	for range 2 {
		if err := copyTo(t, s, far); err != nil {
			t.Fatal(err)
		}
	}
	raw := get(t, far, tag)
	var idx ocispec.Index
	if err := json.Unmarshal(raw, &idx); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(raw, []byte(foreign)) || !bytes.Contains(raw, []byte(`"y":2`)) || len(idx.Manifests) != 2 ||
		idx.Manifests[1].Digest != s.sbom.Digest || idx.Manifests[1].ArtifactType != pipelinetest.SBOMType {
		t.Errorf("the list is %s", raw)
	}
	if n := putsOf(far, tag); n != 2 { // ours above, and one
		t.Errorf("the list was put %d times", n)
	}
}

// putsOf counts how often a manifest was put under just this tag.
func putsOf(far *far, tag string) (n int) {
	for _, r := range far.requests("PUT /v2/team/app/manifests/" + tag) {
		if strings.HasSuffix(r.URL.Path, "/"+tag) {
			n++
		}
	}
	return n
}

func put(t *testing.T, far *far, version, mediaType, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, far.URL+"/v2/team/app/manifests/"+version, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := far.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("put %s: %v, %d", version, err, resp.StatusCode)
	}
}

func get(t *testing.T, far *far, tag string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, far.URL+"/v2/team/app/manifests/"+tag, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := far.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// A registry that knows conditions tells that somebody else was faster: the list
// is read and merged again.
func TestListThatOthersChangedIsMergedAgain(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	tag := pipeline.ReferrersTag(s.image.Digest)
	var version atomic.Int64
	far := serve(t, emptyRegistry(), func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, tag) {
			return false
		}
		etag := fmt.Sprintf(`"%d"`, version.Load())
		switch {
		case r.Method == http.MethodGet:
			w.Header().Set("ETag", etag)
			if version.Load() == 1 {
				version.Add(1) // somebody else puts one
			}
		case r.Header.Get("If-Match") == "" && version.Load() == 0:
			version.Add(1)
		case r.Header.Get("If-Match") != etag:
			http.Error(w, "", http.StatusPreconditionFailed)
			return true
		}
		return false
	})
	put(t, far, tag, ocispec.MediaTypeImageIndex, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
	if err := copyTo(t, s, far); err != nil {
		t.Fatal(err)
	}
	if n := putsOf(far, tag); n != 3 || len(referrersOf(t, far.host(), s.image.Digest)) != 1 {
		t.Errorf("the list was put %d times: %s", n, get(t, far, tag))
	}
}

// Many registries know no conditions: who was a moment later overwrites the list.
// What is missing then is added again.
func TestListThatOthersOverwroteIsMergedAgain(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	tag := pipeline.ReferrersTag(s.image.Digest)
	theirs := s.Store.Referrer(t, s.image, "theirs")
	body := string(s.Store.Bytes(theirs.Digest))
	s.Store.Delete(theirs.Digest)
	var gets atomic.Int64
	var far *far
	far = serve(t, emptyRegistry(), func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, tag) && gets.Add(1) == 2 {
			put(t, far, theirs.Digest.String(), theirs.MediaType, body)
			put(t, far, tag, ocispec.MediaTypeImageIndex, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[`+
				`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"`+theirs.Digest.String()+`","size":7}]}`)
		}
		return false
	})
	if err := copyTo(t, s, far); err != nil {
		t.Fatal(err)
	}
	if got := referrersOf(t, far.host(), s.image.Digest); len(got) != 2 {
		t.Errorf("the image has the referrers %v", got)
	}
}

// A list in which nothing of ours stays is an error: the image gets no name.
func TestListThatDoesNotKeepWhatWasPutIsAnError(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	tag := pipeline.ReferrersTag(s.image.Digest)
	far := serve(t, emptyRegistry(), func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, tag) {
			return false
		}
		http.NotFound(w, r)
		return true
	})
	if err := copyTo(t, s, far); err == nil || !strings.Contains(err.Error(), tag) || head(t, far.host(), "1") != "" {
		t.Errorf("%v; the name is %q", err, head(t, far.host(), "1"))
	}
}

// What is no list of referrers under that tag belongs to somebody: the run fails
// and gives the image no name.
func TestSomethingElseUnderTheListsTagIsNotOverwritten(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	far := serve(t, emptyRegistry())
	tag := pipeline.ReferrersTag(s.image.Digest)
	if err := copyTo(t, s.Store.Source(s.image), far); err != nil {
		t.Fatal(err)
	}
	body := s.Store.Bytes(s.image.Digest)
	other := sink(t, quick(), "registry://"+far.host()+"/team/app:"+tag)
	o := withReferrers()
	o.Referrers = false
	if _, err := pipeline.Run(t.Context(), s.Store.Source(s.image), nil, other, o); err != nil {
		t.Fatal(err)
	}
	_, err := pipeline.Run(t.Context(), s, nil, sink(t, quick(), "registry://"+far.host()+"/team/app:2"), withReferrers())
	if err == nil || !strings.Contains(err.Error(), "not overwritten") || head(t, far.host(), "2") != "" || !bytes.Equal(get(t, far, tag), body) {
		t.Errorf("%v; the tag is %q", err, head(t, far.host(), "2"))
	}
}
