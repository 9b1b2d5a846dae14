package remote_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/layercache"
)

// cached are options with a cache file, opened anew.
func cached(t *testing.T, path string) (pipeline.Options, *layercache.Cache) {
	t.Helper()
	c, err := layercache.Open(t.Context(), path, layercache.Config{Warn: func(s string) { t.Error(s) }})
	if err != nil {
		t.Fatal(err)
	}
	o := onAMD64()
	o.Cache = c
	return o, c
}

func save(t *testing.T, c *layercache.Cache) {
	t.Helper()
	if err := c.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// With every layer cached no layer byte is read, and none is sent; what the
// destination has lost is made and sent again.
func TestCachedPushReadsAndSendsNoLayer(t *testing.T) {
	t.Parallel()
	s, m := sample(t, pipeline.Gzip)
	from, path := serve(t, s), filepath.Join(t.TempDir(), "cache.json")
	var lost atomic.Pointer[digest.Digest]
	to := serve(t, emptyRegistry(), func(w http.ResponseWriter, r *http.Request) bool {
		d := lost.Load()
		gone := d != nil && strings.HasSuffix(r.URL.Path, "/blobs/"+d.String())
		if gone {
			w.WriteHeader(http.StatusNotFound)
		}
		return gone
	})
	pushed := func() (pipeline.Report, int, int) {
		t.Helper()
		o, c := cached(t, path)
		defer save(t, c)
		layers := func(f *far, text string) (n int) {
			for _, l := range m.Layers {
				n += len(f.requests(text + l.Digest.String()))
			}
			return n
		}
		read, sent := layers(from, "GET /v2/team/app/blobs/"), len(to.requests("PATCH"))+len(to.requests("PUT /v2/b/app/blobs"))
		report, err := pipeline.Run(t.Context(), source(t, quick(), "registry://"+from.host()+"/team/app:1"), nil,
			sink(t, quick(), "registry://"+to.host()+"/b/app:1?compression=zstd"), o)
		if err != nil {
			t.Fatal(err)
		}
		return report, layers(from, "GET /v2/team/app/blobs/") - read, len(to.requests("PATCH")) + len(to.requests("PUT /v2/b/app/blobs")) - sent
	}
	first, read, _ := pushed()
	if read != 2 {
		t.Fatalf("%d layers were read the first time", read)
	}
	second, read, sent := pushed()
	if read != 0 || sent != 0 || second.Layers[0].How != pipeline.HowCached {
		t.Errorf("%d layers were read and %d requests sent bytes; the first was %s", read, sent, second.Layers[0].How)
	}
	if a, b := first.Roots[0].Manifest.Digest, second.Roots[0].Manifest.Digest; a != b {
		t.Errorf("the image was %s and is %s", a, b)
	}
	lost.Store(&first.Layers[1].Result.Digest)
	third, read, _ := pushed()
	if read != 1 || third.Layers[0].How != pipeline.HowCached || third.Layers[1].How != pipeline.HowRecoded {
		t.Errorf("%d layers were read; they were %s and %s", read, third.Layers[0].How, third.Layers[1].How)
	}
}

// What a layer became is mounted from the repository that got it.
func TestCachedLayersAreMountedFromWhereTheyWent(t *testing.T) {
	t.Parallel()
	s, m := sample(t, pipeline.Gzip)
	from, path := serve(t, s), filepath.Join(t.TempDir(), "cache.json")
	h := emptyRegistry()
	var mounted atomic.Int32
	to := serve(t, h, func(w http.ResponseWriter, r *http.Request) bool {
		q := r.URL.Query()
		switch {
		case q.Get("mount") != "" && q.Get("from") == "first/app":
			mounted.Add(1)
			w.WriteHeader(http.StatusCreated)
			return true
		case r.Method == http.MethodHead && strings.HasPrefix(r.URL.Path, "/v2/second/app/blobs/"):
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		return false
	})
	for _, name := range []string{"first/app", "second/app"} {
		o, c := cached(t, path)
		uri := "registry://" + to.host() + "/" + name + ":1?compression=zstd"
		if _, err := pipeline.Run(t.Context(), source(t, quick(), "registry://"+from.host()+"/team/app:1"), nil, sink(t, quick(), uri), o); err != nil {
			t.Fatal(err)
		}
		save(t, c)
	}
	if n := int(mounted.Load()); n != len(m.Layers) {
		t.Errorf("%d layers were mounted, of %d", n, len(m.Layers))
	}
	if n := len(to.requests("PATCH /v2/second")); n != 0 {
		t.Errorf("%d layers were sent", n)
	}
}

// What the Python tool has recorded counts once its bytes were read where they
// lie; from then on without reading.
func TestEntryOfThePythonToolIsReadOnceWhereItLies(t *testing.T) {
	t.Parallel()
	s, m := sample(t, pipeline.Plain)
	from, to, path := serve(t, s), serve(t, emptyRegistry()), filepath.Join(t.TempDir(), "cache.json")
	uri := "registry://" + to.host() + "/b/app:1"
	first, err := pipeline.Run(t.Context(), source(t, quick(), "registry://"+from.host()+"/team/app:1"), nil, sink(t, quick(), uri), onAMD64())
	if err != nil {
		t.Fatal(err)
	}
	entries := map[string]any{}
	for i, l := range m.Layers { // plain, so the digest is the diff ID
		entries[l.Digest.Encoded()] = map[string]any{
			"compressed_digest": first.Layers[i].Result.Digest, "compressed_size": first.Layers[i].Result.Size,
			"media_type": "application/vnd.docker.image.rootfs.diff.tar.gzip", "filters_hash": "none", "timestamp": "2026-01-02T03:04:05.678901+00:00",
		}
	}
	raw, err := json.Marshal(map[string]any{"version": 1, "layers": entries})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{len(m.Layers), 0} {
		before := len(to.requests("GET /v2/b/app/blobs/"))
		o, c := cached(t, path)
		report, err := pipeline.Run(t.Context(), source(t, quick(), "registry://"+from.host()+"/team/app:1"), nil, sink(t, quick(), uri), o)
		if err != nil {
			t.Fatal(err)
		}
		save(t, c)
		if report.Layers[0].How != pipeline.HowCached || report.Roots[0].Manifest.Digest != first.Roots[0].Manifest.Digest {
			t.Errorf("the layer was %s, the image is %s", report.Layers[0].How, report.Roots[0].Manifest.Digest)
		}
		if n := len(to.requests("GET /v2/b/app/blobs/")) - before; n != want {
			t.Errorf("%d blobs were read back, want %d", n, want)
		}
	}
}
