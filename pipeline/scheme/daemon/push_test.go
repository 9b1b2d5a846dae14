package daemon_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/process"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
)

// pushSchemes are both ways to name an image that is to be pushed.
func pushSchemes(cfg daemon.Config) pipeline.Schemes {
	return pipeline.Schemes{daemon.Scheme(cfg), daemon.PushScheme(cfg)}
}

// pushURI is the fake's image by dockerpush://.
func (f *fake) pushURI(image string) string {
	return "dockerpush://" + image + "?socket=" + f.host
}

// stores are the kinds of engines that push.
func stores() map[string]func() *fake {
	return map[string]func() *fake{
		"containerd store": func() *fake { return &fake{api: "1.51", indexes: true, pushes: &pushes{}} },
		"graph driver":     func() *fake { return &fake{api: "1.51", pushes: &pushes{}} },
		"Podman":           func() *fake { return &fake{podman: true, pushes: &pushes{}} },
	}
}

// onEachStore runs a test with an engine of each kind, which holds an image.
func onEachStore(t *testing.T, test func(t *testing.T, f *fake, i image)) {
	t.Helper()
	for name, f := range stores() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newImage(t, "amd64", newLayer(t, "a", true), newLayer(t, "b", true))
			test(t, start(t, f()).holds(t, i, "app:1", savedContainerd(t, i, "app:1")), i)
		})
	}
}

// pushSource is a source of pushed images, with a temporary directory of its own.
func pushSource(t *testing.T, uri string) (pipeline.Source, string) {
	t.Helper()
	temp := t.TempDir()
	src, err := pushSchemes(daemon.Config{TempDir: temp}).Source(uri)
	must(t, err)
	return src, temp
}

// clean checks that a run has left nothing behind.
func (f *fake) clean(t *testing.T, images int) {
	t.Helper()
	for tag := range f.tags() {
		if strings.Contains(tag, "/occystrap/lane:") {
			t.Errorf("left in the engine: %s", tag)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.images) != images {
		t.Errorf("the engine has %d images, want %d", len(f.images), images)
	}
}

func empty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in the temporary directory: %v, %v", left, err)
	}
}

// TestPushConforms: what every source promises, of what was loaded.
func TestPushConforms(t *testing.T) {
	t.Parallel()
	for name, f := range stores() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pipelinetest.TestEnd(t, pipelinetest.End{
				OneImage: !f().indexes,
				Sink: func(t *testing.T) (pipeline.Sink, func() (pipeline.Source, error)) {
					f := start(t, f())
					s := pushSchemes(daemon.Config{TempDir: t.TempDir()})
					sink, err := s.Sink(f.uri("app:1"))
					must(t, err)
					return sink, func() (pipeline.Source, error) { return s.Source(f.pushURI("app:1")) }
				},
			})
		})
	}
}

// TestPushLeavesNothingBehind: neither in the engine nor in the directory.
func TestPushLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, f *fake, i image) {
		src, temp := pushSource(t, f.pushURI("app:1"))
		got, err := drain(t.Context(), src, pipeline.Query{})
		must(t, err)
		if len(got.layers) < 2 || len(got.manifests) != 1 || got.manifests[0].Desc.Digest != i.desc.Digest {
			t.Errorf("%d layers, manifests %v", len(got.layers), got.manifests)
		}
		if n := got.manifests[0].Names; !slices.Equal(n, []string{"docker.io/library/app:1"}) {
			t.Errorf("it is called %v", n)
		}
		f.clean(t, 1)
		empty(t, temp)
	})
}

// TestOnlyWhatIsOpenedIsSent: from the containerd store, and as often as it is
// opened.
func TestOnlyWhatIsOpenedIsSent(t *testing.T) {
	t.Parallel()
	i := newImage(t, "amd64", newLayer(t, "a", true), newLayer(t, "b", true))
	f := start(t, stores()["containerd store"]()).holds(t, i, "app:1", savedContainerd(t, i, "app:1"))
	src, temp := pushSource(t, f.pushURI("app:1"))
	g, err := src.Open(t.Context(), pipeline.Query{})
	must(t, err)
	defer g.Close()
	for l, err := range g.Layers(t.Context()) {
		must(t, err)
		if l.Role != pipeline.FileSystem || l.DiffID == "" {
			t.Errorf("layer %s came before its manifest", l.Blob.Digest)
		}
		if l.Blob.Digest != i.layers[1].blob.Digest {
			continue
		}
		for range 2 {
			b, err := stored(t.Context(), l)
			if must(t, err); !bytes.Equal(b, i.layers[1].stored) {
				t.Error("other bytes came")
			}
		}
	}
	if a, b := f.pushes.times(i.layers[0].blob.Digest), f.pushes.times(i.layers[1].blob.Digest); a != 0 || b != 2 {
		t.Errorf("the layers were sent %d and %d times, want 0 and 2", a, b)
	}
	empty(t, temp)
}

// TestBlobsThatWaitForEachOtherCome: an engine that sends one blob at a time, and
// a reader that wants the second before it goes on with the first.
func TestBlobsThatWaitForEachOtherCome(t *testing.T) {
	t.Parallel()
	big := layer{stored: make([]byte, 1<<20)}
	_, _ = rand.Read(big.stored)
	big.blob = describe("application/vnd.oci.image.layer.v1.tar", big.stored)
	big.diffID = digest.FromString("never looked at")
	i := newImage(t, "amd64", big, newLayer(t, "b", true))
	f := &fake{api: "1.51", indexes: true, pushes: &pushes{atOnce: 1}}
	start(t, f).holds(t, i, "app:1", savedContainerd(t, i, "app:1"))
	src, temp := pushSource(t, f.pushURI("app:1"))
	g, err := src.Open(t.Context(), pipeline.Query{})
	must(t, err)
	readers := map[digest.Digest]io.ReadCloser{}
	first := make([]byte, 1)
	for l, err := range g.Layers(t.Context()) {
		must(t, err)
		rc, err := l.Open(t.Context())
		must(t, err)
		readers[l.Blob.Digest] = rc
		if len(readers) == 1 {
			_, err = io.ReadFull(rc, first)
			must(t, err)
		}
	}
	for n := len(i.layers) - 1; n >= 0; n-- {
		l := i.layers[n]
		b, err := io.ReadAll(readers[l.blob.Digest])
		if l.blob.Digest == big.blob.Digest {
			b = append(bytes.Clone(first), b...)
		}
		if err != nil || !bytes.Equal(b, l.stored) {
			t.Errorf("layer %d: %d bytes, %v", n, len(b), err)
		}
	}
	for _, rc := range readers {
		must(t, rc.Close())
	}
	must(t, g.Close())
	empty(t, temp)
}

// TestStrangersAreRefused: whoever else talks to the port gets nothing, and
// nothing of what he sends is read.
func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, f *fake, _ image) {
		var mu sync.Mutex
		var logins []string
		var address string
		f.pushes.before = func(p pushed) {
			mu.Lock()
			defer mu.Unlock()
			address = p.address
			if !strings.HasPrefix(address, "127.0.0.1:") {
				t.Errorf("the engine was sent to %s", address)
			}
			want := func(what string, status int, method, path string, body []byte, edit func(*http.Request)) {
				resp, err := p.request(t.Context(), method, path, body, edit) //nolint:bodyclose // request closes it
				if err != nil || resp.StatusCode != status {
					t.Errorf("%s: %v, %v; want status %d", what, resp, err, status)
				}
			}
			user := p.auth.Username
			want("no login", 401, "GET", "/manifests/1", nil, func(*http.Request) {})
			want("empty login", 401, "GET", "/manifests/1", nil, func(r *http.Request) { r.SetBasicAuth(user, "") })
			want("guessed login", 401, "HEAD", "/blobs/"+digest.FromString("x").String(), nil, func(r *http.Request) { r.SetBasicAuth(user, p.auth.Password+"x") })
			want("token", 401, "GET", "/manifests/1", nil, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+p.auth.Password) })
			for _, old := range logins {
				want("login of another push", 401, "GET", "/manifests/1", nil, func(r *http.Request) { r.SetBasicAuth(user, old) })
			}
			for _, host := range []string{"localhost:" + port(address), "evil.example:" + port(address), ""} {
				want("host "+host, 421, "GET", "/manifests/1", nil, func(r *http.Request) {
					r.Host = host
					if host == "" {
						r.Host = "127.0.0.1"
					}
					r.SetBasicAuth(user, p.auth.Password)
				})
			}
			unread(t, address)
			logins = append(logins, p.auth.Password)
		}
		src, _ := pushSource(t, f.pushURI("app:1"))
		_, err := drain(t.Context(), src, pipeline.Query{})
		must(t, err)
		if len(logins) < 2 || slices.Compact(slices.Sorted(slices.Values(logins)))[0] == "" {
			t.Errorf("logins were %d", len(logins))
		}
		for _, l := range logins {
			if len(l) < 43 { // 256 bits
				t.Errorf("a login has %d characters", len(l))
			}
		}
		if conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address); err == nil {
			t.Error("the port is still open, for replayed logins, after the run")
			_ = conn.Close()
		}
	})
}

func port(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// unread sends a request whose body never ends, and wants an answer.
func unread(t *testing.T, address string) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	_, err = io.WriteString(conn, "PUT /v2/a/manifests/1 HTTP/1.1\r\nHost: "+address+"\r\nContent-Length: 1000000000\r\n\r\n{")
	if err != nil {
		t.Error(err)
	}
	answer, err := io.ReadAll(conn) // ends, though nothing more is sent
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 401 ") {
		t.Errorf("an endless body was answered with %.60q, %v", answer, err)
	}
}

// TestWhoSpeaksTLSIsAnsweredAtOnce: as daemons do first.
func TestWhoSpeaksTLSIsAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, f *fake, _ image) {
		f.pushes.before = func(p pushed) {
			resp, err := http.Get("https://" + p.address + "/v2/") //nolint:bodyclose // fails at once
			if err == nil || !strings.Contains(err.Error(), "HTTP response to HTTPS client") {
				t.Errorf("an HTTPS client got %v, %v", resp, err)
			}
		}
		src, _ := pushSource(t, f.pushURI("app:1"))
		_, err := drain(t.Context(), src, pipeline.Query{})
		must(t, err)
	})
}

// TestDaemonInAnotherNetworkGetsNoImage: its 127.0.0.1 is another one, with
// somebody there who takes everything.
func TestDaemonInAnotherNetworkGetsNoImage(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, f *fake, i image) {
		var mu sync.Mutex
		got := map[string]bool{}
		thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			raw, _ := io.ReadAll(r.Body)
			mu.Lock()
			defer mu.Unlock()
			got[digest.FromBytes(raw).String()] = true
			switch r.Method {
			case http.MethodHead:
				w.WriteHeader(http.StatusNotFound)
			case http.MethodPost:
				w.Header().Set("Location", r.URL.Path+"1")
				w.WriteHeader(http.StatusAccepted)
			default:
				w.WriteHeader(http.StatusCreated)
			}
		}))
		defer thief.Close()
		f.pushes.dial = func(string) string { return strings.TrimPrefix(thief.URL, "http://") }
		src, _ := pushSource(t, f.pushURI("app:1"))
		_, err := drain(t.Context(), src, pipeline.Query{})
		if err == nil || !strings.Contains(err.Error(), "does not reach us") || !strings.Contains(err.Error(), "network") {
			t.Errorf("error is %v", err)
		}
		if len(got) == 0 || got[i.desc.Digest.String()] || got[i.configDigest().String()] || got[i.layers[0].blob.Digest.String()] {
			t.Errorf("the thief got %d bodies, and with them the image", len(got))
		}
		for _, r := range f.seen() {
			if strings.Contains(r, "/tag?") && strings.Contains(r, "/app:1/") {
				t.Errorf("the image got a name there: %s", r)
			}
		}
		f.clean(t, 1)
		// Left to itself, docker:// takes another lane.
		plain, err := pushSchemes(daemon.Config{TempDir: t.TempDir()}).Source(f.uri("app:1"))
		must(t, err)
		_, err = drain(t.Context(), plain, pipeline.Query{})
		must(t, err)
		f.clean(t, 1)
	})
}

// TestNameIsTakenAwayOnEveryWayOut: whatever ends the run.
func TestNameIsTakenAwayOnEveryWayOut(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil func(f *fake, i image, stop context.CancelFunc)
		want  string
	}{
		"interrupted": {func(f *fake, _ image, stop context.CancelFunc) {
			f.pushes.before = func(p pushed) {
				if !strings.HasSuffix(p.tag, "-0") {
					stop()
				}
			}
		}, "context canceled"},
		"interrupted while the stand-in is made": {func(f *fake, _ image, stop context.CancelFunc) {
			f.pushes.imported = func(r *http.Request) {
				stop()
				<-r.Context().Done() // so that nobody learns that it is there
			}
		}, "context canceled"},
		"broken off": {func(f *fake, _ image, _ context.CancelFunc) { f.pushes.cut = true }, "push"},
		"blob that is not there": {func(f *fake, i image, _ context.CancelFunc) {
			f.mu.Lock()
			defer f.mu.Unlock()
			delete(f.blobs, i.layers[1].blob.Digest)
		}, "not found"},
		"other bytes": {func(f *fake, _ image, _ context.CancelFunc) {
			f.pushes.before = func(p pushed) { p.wrong = !strings.HasSuffix(p.tag, "-0") }
		}, ""},
		"image deleted meanwhile": {func(f *fake, _ image, _ context.CancelFunc) {
			f.pushes.before = func(p pushed) {
				if strings.HasSuffix(p.tag, "-0") {
					f.mu.Lock()
					defer f.mu.Unlock()
					f.images = slices.DeleteFunc(f.images, func(h *held) bool { return slices.Contains(h.RepoTags, "docker.io/library/app:1") })
				}
			}
		}, "o such image"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEachStore(t, func(t *testing.T, f *fake, i image) {
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				tc.spoil(f, i, stop)
				src, temp := pushSource(t, f.pushURI("app:1"))
				_, err := drain(ctx, src, pipeline.Query{})
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error is %v; want %q in it", err, tc.want)
				}
				images := 1
				if name == "image deleted meanwhile" {
					images = 0
				}
				f.clean(t, images)
				empty(t, temp)
			})
		})
	}
}

// TestAnImageWithoutAnotherNameStays: one that is asked for by its ID, and one
// whose last name somebody takes away during the run.
func TestAnImageWithoutAnotherNameStays(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, f *fake, _ image) {
		f.pushes.before = func(p pushed) {
			if strings.HasSuffix(p.tag, "-0") {
				return
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			for _, h := range f.images {
				h.RepoTags = slices.DeleteFunc(h.RepoTags, func(tag string) bool { return tag == "docker.io/library/app:1" })
			}
		}
		for _, name := range []string{"app:1", f.images[0].ID} {
			src, _ := pushSource(t, f.pushURI(name))
			_, err := drain(t.Context(), src, pipeline.Query{})
			must(t, err)
			f.clean(t, 1)
		}
	})
}

// TestTheNextRunTidiesUp: after those whose process has ended, and after no
// others.
func TestTheNextRunTidiesUp(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, f *fake, _ image) {
		me := process.Name()
		dead := me[:strings.LastIndexByte(me, '.')+1] + "1" // our number, at another time
		left := "127.0.0.1:1/occystrap/lane:" + dead + ".random-"
		alive := "127.0.0.1:1/occystrap/lane:" + me + ".random-1"
		others := []string{alive, "127.0.0.1:1/occystrap/lane:mine", "registry.example/occystrap/lane:" + dead + ".random-1"}
		f.images[0].RepoTags = append(f.images[0].RepoTags, append(others, left+"1")...)
		f.images = append(f.images, &held{ID: "sha256:" + strings.Repeat("5", 64), RepoTags: []string{left + "0"}})
		src, _ := pushSource(t, f.pushURI("app:1"))
		_, err := drain(t.Context(), src, pipeline.Query{})
		must(t, err)
		tags := f.tags()
		for _, tag := range others {
			if tags[tag] == "" {
				t.Errorf("%s was taken away", tag)
			}
		}
		if tags[left+"0"] != "" || tags[left+"1"] != "" || len(f.images) != 1 {
			t.Errorf("still there: %v", tags)
		}
	})
}

// TestSeveralImagesArePushed: ?also=, each under its names, and two runs at once.
func TestSeveralImagesArePushed(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, f *fake, i image) {
		j := newImage(t, "arm64", i.layers[0], newLayer(t, "c", true))
		f.holds(t, j, "other:1", nil)
		var wg sync.WaitGroup
		for range 2 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				src, temp := pushSource(t, f.pushURI("app:1")+"&also=other:1")
				got, err := drain(t.Context(), src, pipeline.Query{})
				if err != nil {
					t.Error(err)
					return
				}
				names := map[digest.Digest][]string{}
				for _, m := range got.manifests {
					names[m.Desc.Digest] = m.Names
				}
				if !slices.Equal(names[i.desc.Digest], []string{"docker.io/library/app:1"}) || !slices.Equal(names[j.desc.Digest], []string{"docker.io/library/other:1"}) {
					t.Errorf("images are %v", names)
				}
				empty(t, temp)
			}()
		}
		wg.Wait()
		f.clean(t, 2)
	})
}

// TestBriefLookMovesNoLayer: what info wants is known without.
func TestBriefLookMovesNoLayer(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, f *fake, i image) {
		src, _ := pushSource(t, f.pushURI("app:1"))
		g, err := src.Open(t.Context(), pipeline.Query{Brief: true})
		must(t, err)
		for m, err := range g.Manifests(t.Context()) {
			if must(t, err); m.Config == nil || len(m.Names) != 1 {
				t.Errorf("config %s, names %v", m.Config, m.Names)
			}
		}
		must(t, g.Close())
		if n := f.pushes.times(i.layers[0].blob.Digest); n > 0 {
			t.Errorf("a layer was sent %d times", n)
		}
		f.clean(t, 1)
	})
}

// TestMissingImageIsNotFound: before anything is made for it.
func TestMissingImageIsNotFound(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, f *fake, _ image) {
		src, _ := pushSource(t, f.pushURI("nosuch:1"))
		if _, err := drain(t.Context(), src, pipeline.Query{}); !errors.Is(err, pipeline.ErrNotFound) {
			t.Errorf("error is %v", err)
		}
		f.clean(t, 1)
	})
}
