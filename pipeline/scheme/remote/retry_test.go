package remote_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
)

// flaky fails some first requests, then is another transport.
type flaky struct {
	fail func(n int32) (*http.Response, error) // nil, nil: go on
	then http.RoundTripper
	n    atomic.Int32
}

func (f *flaky) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := f.fail(f.n.Add(1))
	if resp != nil {
		resp.Request = r
		return resp, nil
	}
	if err != nil {
		return nil, err
	}
	return f.then.RoundTrip(r)
}

func answer(status int, header ...string) *http.Response {
	w := httptest.NewRecorder()
	for i := 0; i+1 < len(header); i += 2 {
		w.Header().Set(header[i], header[i+1])
	}
	w.WriteHeader(status)
	return w.Result()
}

// fetchConfig fetches one small blob of a registry and returns how long it took,
// by a clock that only waits move.
func fetchConfig(t *testing.T, cfg remote.Config, fail func(n int32) (*http.Response, error)) (time.Duration, error) {
	t.Helper()
	s, m := sample(t, pipeline.Gzip)
	cfg.Transport = &flaky{fail: fail, then: direct{"registry.example": s}}
	content, err := remote.OpenContent(t.Context(), cfg, "registry.example/team/app")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, err = content.Fetch(t.Context(), ocispec.Descriptor{MediaType: m.Config.MediaType, Digest: m.Config.Digest, Size: m.Config.Size})
	return time.Since(start), err
}

func TestWaitsBetweenRetries(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fail     func(n int32) (*http.Response, error)
		retries  int
		from, to time.Duration
		want     string
	}{
		"connection errors: 1, 2, 4 s": {func(n int32) (*http.Response, error) { return upTo(3, n, nil, fmt.Errorf("reset")) }, 0, 7 * time.Second, 9 * time.Second, ""},
		"a fourth is too many":         {func(n int32) (*http.Response, error) { return upTo(4, n, nil, fmt.Errorf("reset")) }, 0, 7 * time.Second, 9 * time.Second, "reset"},
		"none when told so":            {func(n int32) (*http.Response, error) { return upTo(1, n, nil, fmt.Errorf("reset")) }, -1, 0, 0, "reset"},
		"503":                          {func(n int32) (*http.Response, error) { return upTo(1, n, answer(503), nil) }, 0, time.Second, 1250 * time.Millisecond, ""},
		"500, 502, 504, 408":           {func(n int32) (*http.Response, error) { return statuses(n, 500, 502, 504, 408) }, 4, 15 * time.Second, 19 * time.Second, ""},
		"429 with seconds":             {func(n int32) (*http.Response, error) { return upTo(1, n, answer(429, "Retry-After", "17"), nil) }, 0, 17 * time.Second, 17 * time.Second, ""},
		"429 with a date": {func(n int32) (*http.Response, error) {
			return upTo(1, n, answer(429, "Retry-After", time.Now().Add(20*time.Second).UTC().Format(http.TimeFormat)), nil)
		}, 0, 19 * time.Second, 20 * time.Second, ""},
		"Retry-After of a day is capped": {func(n int32) (*http.Response, error) { return upTo(1, n, answer(503, "Retry-After", "86400"), nil) }, 0, time.Minute, time.Minute, ""},
		"nonsense in Retry-After":        {func(n int32) (*http.Response, error) { return upTo(1, n, answer(503, "Retry-After", "soon"), nil) }, 0, time.Second, 1250 * time.Millisecond, ""},
		"404 is for good":                {func(n int32) (*http.Response, error) { return upTo(1, n, answer(404), nil) }, 0, 0, 0, "404"},
		"400 is for good":                {func(n int32) (*http.Response, error) { return upTo(1, n, answer(400), nil) }, 0, 0, 0, "400"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				took, err := fetchConfig(t, remote.Config{Retries: test.retries}, test.fail)
				if test.want != "" {
					wantError(t, err, test.want)
				} else if err != nil {
					t.Error(err)
				}
				if took < test.from || took > test.to {
					t.Errorf("waited %s, want %s to %s", took, test.from, test.to)
				}
			})
		})
	}
}

func upTo(last, n int32, resp *http.Response, err error) (*http.Response, error) {
	if n > last {
		return nil, nil
	}
	return resp, err
}

func statuses(n int32, all ...int) (*http.Response, error) {
	if int(n) > len(all) {
		return nil, nil
	}
	return answer(all[n-1]), nil
}

func TestCancelEndsAWaitAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		cfg := remote.Config{Transport: &flaky{fail: func(int32) (*http.Response, error) { return answer(503, "Retry-After", "50"), nil }}}
		content, err := remote.OpenContent(ctx, cfg, "registry.example/team/app")
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err = content.Fetch(ctx, describe([]byte("x")))
		if took := time.Since(start); err == nil || took != 3*time.Second {
			t.Errorf("ended after %s: %v", took, err)
		}
	})
}

func TestRateLimitHoldsOverAllBodies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, m := sample(t, pipeline.Gzip)
		cfg := remote.Config{Transport: direct{"registry.example": s}, RateLimit: 100_000}
		start := time.Now()
		if _, _, err := pull(t, cfg, "registry://registry.example/team/app:1", onAMD64()); err != nil {
			t.Fatal(err)
		}
		size := m.Layers[0].Size + m.Layers[1].Size
		want := time.Duration(float64(size) / 100_000 * float64(time.Second))
		if took := time.Since(start); took < want*8/10 || took > want*13/10 {
			t.Errorf("%d bytes at 100 kB/s took %s, want about %s", size, took, want)
		}
	})
}

func TestWorkersBoundConnections(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, pipeline.Gzip)
	var now, most atomic.Int32
	far := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		s.ServeHTTP(w, r)
	}))
	o := onAMD64()
	o.Parallel = 8
	if _, _, err := pull(t, quick(), "registry://"+far.host()+"/team/app:1?max_workers=1", o); err != nil {
		t.Fatal(err)
	}
	if most.Load() != 1 {
		t.Errorf("%d requests at once with max_workers=1", most.Load())
	}
}

func TestOneWorkerMayReadTwoLayersAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, m := sample(t, pipeline.Gzip)
		cfg := remote.Config{Transport: direct{"registry.example": s}, Workers: 1}
		content, err := remote.OpenContent(t.Context(), cfg, "registry.example/team/app")
		if err != nil {
			t.Fatal(err)
		}
		first, err := content.Open(t.Context(), m.Layers[0])
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		second, err := content.Open(t.Context(), m.Layers[1])
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
	})
}

func TestUserAgentNamesTheProgram(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, pipeline.Gzip)
	d := newDoor(t, s, &door{})
	cfg := quick()
	cfg.UserAgent = "occystrap/1.2.3"
	if _, _, err := pull(t, cfg, d.uri(), onAMD64()); err != nil {
		t.Fatal(err)
	}
	for _, r := range d.far.requests("") {
		if got := r.Header.Get("User-Agent"); got != "occystrap/1.2.3" {
			t.Errorf("%s %s says User-Agent %q", r.Method, r.URL.Path, got)
		}
		if r.Method == http.MethodGet && r.ContentLength > 0 {
			t.Errorf("%s %s has a body", r.Method, r.URL.Path)
		}
	}
	if a := d.far.requests("manifests")[0].Header.Get("Accept"); strings.Count(a, "json") != 4 {
		t.Errorf("Accept is %q", a)
	}
}
