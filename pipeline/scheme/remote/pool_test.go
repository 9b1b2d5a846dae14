package remote_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/credential"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
)

// newClient makes a client that ends with the test.
func newClient(t testing.TB, cfg remote.Config) *remote.Client {
	t.Helper()
	c, err := remote.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// repository is team/app of a server.
func repository(t testing.TB, cfg remote.Config, f *far) *remote.Repository {
	t.Helper()
	return newClient(t, cfg).Repository(f.host(), "team/app")
}

func TestNoNameBecomesPartOfARequest(t *testing.T) {
	t.Parallel()
	f := serve(t, http.NotFoundHandler())
	c := newClient(t, quick())
	good := c.Repository(f.host(), "team/app")
	ctx := t.Context()
	sha := digest.FromString("x")
	asks := map[string]func(r *remote.Repository, ref registry.Ref, d digest.Digest) error{
		"Manifest": func(r *remote.Repository, ref registry.Ref, _ digest.Digest) error {
			_, _, err := r.Manifest(ctx, ref)
			return err
		},
		"Stat": func(r *remote.Repository, ref registry.Ref, _ digest.Digest) error {
			_, err := r.Stat(ctx, ref)
			return err
		},
		"StatBlob": func(r *remote.Repository, _ registry.Ref, d digest.Digest) error {
			_, err := r.StatBlob(ctx, d)
			return err
		},
		"OpenBlob": func(r *remote.Repository, _ registry.Ref, d digest.Digest) error {
			_, _, err := r.OpenBlob(ctx, d, 0)
			return err
		},
		"Referrers": func(r *remote.Repository, _ registry.Ref, d digest.Digest) error {
			_, err := r.Referrers(ctx, d)
			return err
		},
		"Source": func(r *remote.Repository, ref registry.Ref, _ digest.Digest) error {
			_, err := r.Source(ref).Open(ctx, pipeline.Query{})
			return err
		},
	}
	for name, ask := range asks {
		for _, repo := range []string{"", "Team", "a//b", "a/../b", "a b", "a\r\nX-Evil: 1", "a?x=1", "a#b", "a%2fb", "a:tag", "a@" + sha.String(), "/a", "a/", strings.Repeat("a", 300)} {
			if err := ask(c.Repository(f.host(), repo), registry.Ref{Tag: "1"}, sha); err == nil {
				t.Errorf("%s of repository %q: no error", name, repo)
			}
		}
		for _, host := range []string{"", "a b", "x\r\ny", "user@host", "host/path", "host?x", "host#x"} {
			if err := ask(c.Repository(host, "team/app"), registry.Ref{Tag: "1"}, sha); err == nil {
				t.Errorf("%s of host %q: no error", name, host)
			}
		}
		for _, bad := range []string{"", "../x", "a/b", "a b", "1\r\nX: y", "?", strings.Repeat("a", 200)} {
			if err := ask(good, registry.Ref{Tag: bad}, digest.Digest(bad)); err == nil {
				t.Errorf("%s of %q: no error", name, bad)
			}
			if err := ask(good, registry.Ref{Digest: digest.Digest("sha256:" + bad)}, digest.Digest("sha256:"+bad)); err == nil {
				t.Errorf("%s of digest %q: no error", name, bad)
			}
		}
	}
	if n := len(f.requests("")); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

func TestSinkOfNoNameIsAnError(t *testing.T) {
	t.Parallel()
	c := newClient(t, quick())
	for name, dst := range map[string]pipeline.Sink{
		"repository": c.Repository("registry.example", "A").Sink([]string{"1"}),
		"tag":        c.Repository("registry.example", "a").Sink([]string{"1", "a/b"}),
	} {
		if _, err := pipeline.Run(t.Context(), image(t, pipeline.Gzip), nil, dst, onAMD64()); !errors.As(err, new(*pipeline.UsageError)) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func TestBlobCostsOneRequest(t *testing.T) {
	t.Parallel()
	s, m := sample(t, pipeline.Gzip)
	want := s.Bytes(m.Layers[1].Digest)
	f := serve(t, s)
	r := repository(t, quick(), f)
	if _, err := r.StatBlob(t.Context(), m.Layers[1].Digest); err != nil {
		t.Fatal(err) // settles that plain HTTP is spoken
	}
	for _, offset := range []int64{0, 1, int64(len(want)) - 1} {
		before := len(f.requests(""))
		rc, size, err := r.OpenBlob(t.Context(), m.Layers[1].Digest, offset)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(rc)
		if err != nil || !bytes.Equal(got, want[offset:]) || size != int64(len(want)) {
			t.Errorf("from %d: read %d bytes of %d: %v", offset, len(got), size, err)
		}
		_ = rc.Close()
		if n := len(f.requests("")) - before; n != 1 {
			t.Errorf("from %d: %d requests", offset, n)
		}
	}
	rc, err := r.Backend().Blobs.Open(t.Context(), "team/app", m.Layers[1].Digest, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if sized, ok := rc.(interface{ Size() int64 }); !ok || sized.Size() != int64(len(want)) {
		t.Error("the reader of the backend does not tell the size")
	}
}

func TestOffsetBeyondTheEndIsAnError(t *testing.T) {
	t.Parallel()
	s, m := sample(t, pipeline.Gzip)
	body := s.Bytes(m.Layers[0].Digest)
	for name, h := range map[string]http.Handler{
		"with ranges":    s,
		"without ranges": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }),
	} {
		_, _, err := repository(t, quick(), serve(t, h)).OpenBlob(t.Context(), m.Layers[0].Digest, int64(len(body))+7)
		var status *remote.StatusError
		if !errors.As(err, &status) || status.Status != http.StatusRequestedRangeNotSatisfiable {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func TestManifestAndStat(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, pipeline.Gzip)
	desc := s.tags["1"]
	answers := map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"as is": func(http.ResponseWriter, *http.Request) bool { return false },
		"no HEAD": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodHead {
				w.WriteHeader(http.StatusMethodNotAllowed)
			}
			return r.Method == http.MethodHead
		},
		"HEAD without digest": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodHead {
				w.Header().Set("Content-Type", desc.MediaType)
				w.Header().Set("Content-Length", fmt.Sprint(desc.Size))
			}
			return r.Method == http.MethodHead
		},
		"HEAD without length": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodHead {
				w.Header().Set("Docker-Content-Digest", desc.Digest.String())
				w.Header().Set("Content-Type", desc.MediaType)
				w.Header().Set("Transfer-Encoding", "chunked")
			}
			return r.Method == http.MethodHead
		},
		"HEAD that tells of a page": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodHead {
				w.Header().Set("Docker-Content-Digest", desc.Digest.String())
				w.Header().Set("Content-Type", "text/html")
				w.Header().Set("Content-Length", "7")
			}
			return r.Method == http.MethodHead
		},
	}
	for name, hook := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, s, hook)
			r := repository(t, quick(), f)
			for _, ref := range []registry.Ref{{Tag: "1"}, {Digest: desc.Digest}} {
				got, err := r.Stat(t.Context(), ref)
				if err != nil || got.Digest != desc.Digest || got.Size != desc.Size || got.MediaType != desc.MediaType {
					t.Errorf("Stat of %s is %v, want %v: %v", ref, got, desc, err)
				}
				got, raw, err := r.Manifest(t.Context(), ref)
				if err != nil || got.Digest != desc.Digest || !bytes.Equal(raw, s.Bytes(desc.Digest)) {
					t.Errorf("Manifest of %s is %v: %v", ref, got, err)
				}
			}
			for _, r := range f.requests("/manifests/") {
				if accept := r.Header.Get("Accept"); !strings.Contains(accept, ocispec.MediaTypeImageIndex) || !strings.Contains(accept, pipeline.MediaTypeDockerManifest) {
					t.Errorf("Accept is %q", accept)
				}
			}
		})
	}
}

func TestLyingManifestIsAnError(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, pipeline.Gzip)
	other := digest.FromString("another")
	f := serve(t, s, func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		w.Header().Set("Docker-Content-Digest", other.String())
		_, _ = io.WriteString(w, `{"schemaVersion":2,"config":{},"layers":[]}`)
		return true
	})
	r := repository(t, quick(), f)
	if _, _, err := r.Manifest(t.Context(), registry.Ref{Tag: "1"}); !errors.Is(err, pipeline.ErrDigest) || remote.Passing(err) {
		t.Errorf("by tag: %v", err)
	}
	if _, _, err := r.Manifest(t.Context(), registry.Ref{Digest: s.tags["1"].Digest}); !errors.Is(err, pipeline.ErrDigest) {
		t.Errorf("by digest: %v", err)
	}
	if _, err := r.Stat(t.Context(), registry.Ref{Digest: s.tags["1"].Digest}); !errors.Is(err, pipeline.ErrDigest) {
		t.Errorf("Stat by digest: %v", err)
	}
}

func TestTagsComeInTheOrderOfTheirBytes(t *testing.T) {
	t.Parallel()
	all := []string{"b", "a", "C", "1", "not a tag", "a.b", "a-b", "a"}
	want := []string{"1", "C", "a", "a-b", "a.b", "b"}
	f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // n and last are not known to it
		half, at := len(all)/2, 0
		if r.URL.Query().Get("page") == "2" {
			at = half
		} else {
			w.Header().Set("Link", `</v2/team/app/tags/list?page=2>; rel="next"`)
		}
		_, _ = fmt.Fprintf(w, `{"name":"team/app","tags":["%s"]}`, strings.Join(all[at:at+half], `","`))
	}))
	tags := repository(t, quick(), f).Backend().Tags
	for _, test := range []struct {
		last string
		n    int
		want []string
	}{{"", 100, want}, {"a", 100, want[3:]}, {"zz", 100, nil}} {
		got, err := tags.List(t.Context(), "team/app", test.last, test.n)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("tags after %q are %q, want %q: %v", test.last, got, test.want, err)
		}
	}
}

func TestRepositoriesShareWhatWasLearnt(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, pipeline.Gzip)
	d := newDoor(t, s, &door{user: "bob:s3cret"})
	cfg := quick()
	cfg.Source = credential.Static("bob", "s3cret")
	c := newClient(t, cfg)
	for range 3 {
		if _, _, err := c.Repository(d.host(), "team/app").Manifest(t.Context(), registry.Ref{Tag: "1"}); err != nil {
			t.Fatal(err)
		}
	}
	if d.issued != 1 || len(d.far.requests("/manifests/")) != 4 {
		t.Errorf("%d tokens for %d requests, want 1 for 4", d.issued, len(d.far.requests("/manifests/")))
	}
	if _, err := c.Repository(d.host(), "team/other").Stat(t.Context(), registry.Ref{Tag: "1"}); !errors.Is(err, pipeline.ErrNotFound) {
		t.Error(err)
	}
	if n := len(d.far.requests("/v2/team/other/")); n != 1 {
		t.Errorf("another repository cost %d requests: where tokens are had is known", n)
	}
	if got := d.requests[1].URL.Query().Get("scope"); got != "repository:team/app:pull repository:team/other:pull" && got != "repository:team/other:pull" {
		t.Errorf("its token was asked for with scope %q", got)
	}
}

// That a registry does not know one repository, or one kind of digest, says nothing of
// its other answers to the same question.
func TestOneRepositoryHidesNoReferrersOfOthers(t *testing.T) {
	t.Parallel()
	for code, status := range map[string]int{"NAME_UNKNOWN": http.StatusNotFound, "DIGEST_INVALID": http.StatusBadRequest} {
		s := newSigned(t)
		far := newer(t, func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, "/v2/team/other/referrers/") {
				return false
			}
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"errors":[{"code":%q}]}`, code)
			return true
		})
		if err := copyTo(t, s, far); err != nil {
			t.Fatal(err)
		}
		c := newClient(t, quick())
		if got, err := c.Repository(far.host(), "team/other").Referrers(t.Context(), s.image.Digest); err != nil || len(got) != 0 {
			t.Errorf("%s: %d referrers, %v", code, len(got), err)
		}
		if got, err := c.Repository(far.host(), "team/app").Referrers(t.Context(), s.image.Digest); err != nil || len(got) == 0 {
			t.Errorf("%s: then another repository has %d, %v", code, len(got), err)
		}
	}
}

func TestRunBetweenRepositoriesOfAClient(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, pipeline.Gzip)
	from, to := serve(t, s), serve(t, emptyRegistry())
	c := newClient(t, quick())
	dst := c.Repository(to.host(), "mirror/app")
	desc := s.tags["1"]
	for _, tags := range [][]string{nil, {"1"}, {"2", "3"}} {
		if _, err := pipeline.Run(t.Context(), c.Repository(from.host(), "team/app").Source(registry.Ref{Tag: "1"}), nil, dst.Sink(tags), onAMD64()); err != nil {
			t.Fatal(err)
		}
		refs := []registry.Ref{{Digest: desc.Digest}}
		for _, tag := range tags {
			refs = append(refs, registry.Ref{Tag: tag})
		}
		for _, ref := range refs {
			if got, err := dst.Stat(t.Context(), ref); err != nil || got.Digest != desc.Digest {
				t.Errorf("%s is %v: %v", ref, got, err)
			}
		}
		if got, err := dst.Tags(t.Context(), "", 10); tags == nil && len(got) > 0 {
			t.Errorf("a run by digest alone made the tags %q (%v)", got, err)
		}
	}
}

func TestReadingBackendWritesNothing(t *testing.T) {
	t.Parallel()
	f := serve(t, http.NotFoundHandler())
	b := newClient(t, quick()).Backend(f.host(), "team")
	ctx, d := t.Context(), digest.FromString("x")
	if b.Uploads != nil {
		t.Error("it takes uploads")
	}
	for name, err := range map[string]error{
		"Mount": b.Blobs.Mount(ctx, "app", "", d), "delete a blob": b.Blobs.Delete(ctx, "app", d),
		"Put": b.Manifests.Put(ctx, "app", registry.Manifest{}, nil), "delete a manifest": b.Manifests.Delete(ctx, "app", d),
		"delete a tag": b.Tags.Delete(ctx, "app", "1"),
	} {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(f.requests("")); n != 0 {
		t.Errorf("%d requests were made", n)
	}
	if _, err := b.Manifests.Stat(ctx, "app", registry.Ref{Tag: "1"}); !errors.Is(err, pipeline.ErrNotFound) {
		t.Error(err)
	}
	if n := len(f.requests("/v2/team/app/manifests/1")); n != 1 {
		t.Error("the prefix is not part of the name")
	}
}

func TestRefusedTokenIsAskedForAgainAfterAMinute(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, pipeline.Gzip)
	synctest.Test(t, func(t *testing.T) {
		refused, asked := true, 0
		cfg := quick()
		cfg.Transport = direct{"registry.example": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/token":
				if asked++; refused {
					w.WriteHeader(http.StatusForbidden)
					return
				}
				_, _ = io.WriteString(w, `{"token":"good"}`)
			case r.Header.Get("Authorization") != "Bearer good":
				w.Header().Set("WWW-Authenticate", `Bearer realm="https://registry.example/token"`)
				w.WriteHeader(http.StatusUnauthorized)
			default:
				s.ServeHTTP(w, r)
			}
		})}
		r := newClient(t, cfg).Repository("registry.example", "team/app")
		for range 3 {
			if _, err := r.Stat(t.Context(), registry.Ref{Tag: "1"}); err == nil || remote.Passing(err) {
				t.Errorf("error is %v", err)
			}
		}
		if asked != 1 {
			t.Errorf("the token server was asked %d times in a moment", asked)
		}
		refused = false
		<-time.After(2 * time.Minute) // by the clock of the bubble
		if _, err := r.Stat(t.Context(), registry.Ref{Tag: "1"}); err != nil {
			t.Error(err)
		}
	})
}
