package registry_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// layerOf is a layer that can be opened again and again; opened counts.
func layerOf(content string, opened *int) pipeline.Layer {
	return pipeline.Layer{
		Blob: ocispec.Descriptor{Digest: digest.FromString(content), Size: int64(len(content))},
		Open: func(context.Context) (io.ReadCloser, error) {
			*opened++
			return io.NopCloser(strings.NewReader(content)), nil
		},
	}
}

// shelved serves a shelf as the repository "image" and returns a getter.
func shelved(t *testing.T, s *registry.Shelf) func(method, path, ranges string) (int, string) {
	t.Helper()
	srv := httptest.NewServer(registry.New(s.Backend("image"), registry.Options{}))
	t.Cleanup(srv.Close)
	return func(method, path, ranges string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+"/v2/"+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if ranges != "" {
			req.Header.Set("Range", ranges)
		}
		resp, err := srv.Client().Do(req)
		if err != nil { // the answer is cut where the layer cannot be read
			return 0, err.Error()
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil && method != http.MethodHead {
			return resp.StatusCode, err.Error()
		}
		return resp.StatusCode, string(body)
	}
}

func TestShelfReadsWhatIsAskedForAndNoMore(t *testing.T) {
	t.Parallel()
	s := registry.NewShelf(t.TempDir())
	defer s.Close()
	var wanted, unwanted int
	a, b := layerOf("the layer that is asked for", &wanted), layerOf("the other one", &unwanted)
	s.Lend(a)
	s.Lend(b)
	get := shelved(t, s)
	if status, _ := get(http.MethodHead, "image/blobs/"+b.Blob.Digest.String(), ""); status != http.StatusOK {
		t.Errorf("HEAD is answered with %d", status)
	}
	for ranges, want := range map[string]string{"": "the layer that is asked for", "bytes=4-": "layer that is asked for"} {
		if _, body := get(http.MethodGet, "image/blobs/"+a.Blob.Digest.String(), ranges); body != want {
			t.Errorf("range %q is %q, want %q", ranges, body, want)
		}
	}
	if wanted != 2 || unwanted != 0 || s.Read(b.Blob.Digest) != 0 || s.Read(a.Blob.Digest) == 0 {
		t.Errorf("opened %d and %d times, %d bytes read of what nobody asked for", wanted, unwanted, s.Read(b.Blob.Digest))
	}
	if status, _ := get(http.MethodGet, "another/blobs/"+a.Blob.Digest.String(), ""); status != http.StatusNotFound {
		t.Errorf("another repository is answered with %d", status)
	}
}

func TestShelfServesManifestsAndWhatWasMade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := registry.NewShelf(dir)
	w, err := s.Receive()
	if err != nil {
		t.Fatal(err)
	}
	made := "a layer that a filter made"
	blob := ocispec.Descriptor{Digest: digest.FromString(made), Size: int64(len(made))}
	if _, err := io.WriteString(w, made); err != nil {
		t.Fatal(err)
	}
	get := shelved(t, s)
	if status, _ := get(http.MethodGet, "image/blobs/"+blob.Digest.String(), ""); status != http.StatusNotFound {
		t.Errorf("a layer that was not committed is answered with %d", status)
	}
	if err := errors.Join(w.Commit(t.Context(), blob, ""), w.Close()); err != nil {
		t.Fatal(err)
	}
	config := `{"os":"linux"}`
	raw := `{"schemaVersion":2,"config":{"digest":"` + digest.FromString(config).String() + `"}}`
	m := pipeline.Manifest{Desc: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(raw)}, Raw: []byte(raw), Config: []byte(config)}
	if err := s.Put(m); err != nil {
		t.Fatal(err)
	}
	s.Tag("1", m.Desc.Digest)
	for path, want := range map[string]string{
		"image/blobs/" + blob.Digest.String():               made,
		"image/manifests/1":                                 raw,
		"image/manifests/" + m.Desc.Digest.String():         raw,
		"image/blobs/" + digest.FromString(config).String(): config,
		"image/tags/list":                                   `{"name":"image","tags":["1"]}`,
	} {
		if status, body := get(http.MethodGet, path, ""); status != http.StatusOK || strings.TrimSpace(body) != want {
			t.Errorf("%s is %d %q, want %q", path, status, body, want)
		}
	}
	if status, _ := get(http.MethodPut, "image/manifests/1", ""); status != http.StatusMethodNotAllowed {
		t.Errorf("a push is answered with %d", status)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v, %v", left, err)
	}
}

func TestShelfTellsWhyALayerCannotBeRead(t *testing.T) {
	t.Parallel()
	s := registry.NewShelf(t.TempDir())
	defer s.Close()
	l := layerOf("never read", new(int))
	cause := errors.New("the source has gone")
	l.Open = func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader("nev"), errReader{cause})), nil
	}
	s.Lend(l)
	told := make(chan error, 1)
	s.Failed(func(err error) { told <- err })
	get := shelved(t, s)
	get(http.MethodGet, "image/blobs/"+l.Blob.Digest.String(), "")
	if err := <-told; !errors.Is(err, cause) {
		t.Errorf("told %v", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }
