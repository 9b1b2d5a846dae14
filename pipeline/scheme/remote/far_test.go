package remote_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.uber.org/goleak"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A far is the other end: HTTP in process, with a record of what was asked.
type far struct {
	*httptest.Server
	mu   sync.Mutex
	seen []*http.Request
}

// serve starts a server. Hooks come before h; the first that answers true has
// answered the request.
func serve(t *testing.T, h http.Handler, hooks ...func(http.ResponseWriter, *http.Request) bool) *far {
	t.Helper()
	f := &far{}
	f.Server = httptest.NewUnstartedServer(f.record(h, hooks))
	f.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.Start()
	t.Cleanup(f.Close)
	return f
}

func serveTLS(t *testing.T, h http.Handler) *far {
	t.Helper()
	f := &far{}
	f.Server = httptest.NewUnstartedServer(f.record(h, nil))
	f.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(t)}} // httptest's own may be trusted already
	f.StartTLS()
	t.Cleanup(f.Close)
	return f
}

// certificate makes one that nobody trusts yet, for this machine.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}

func (f *far) record(h http.Handler, hooks []func(http.ResponseWriter, *http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.seen = append(f.seen, r.Clone(context.WithoutCancel(r.Context())))
		f.mu.Unlock()
		for _, hook := range hooks {
			if hook(w, r) {
				return
			}
		}
		h.ServeHTTP(w, r)
	})
}

func (f *far) host() string { return f.Listener.Addr().String() }

// requests are those whose method and path contain the text.
func (f *far) requests(text string) (out []*http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.seen {
		if strings.Contains(r.Method+" "+r.URL.Path, text) {
			out = append(out, r)
		}
	}
	return out
}

// A shelf serves the blobs of a store as repository team/app, honestly.
type shelf struct {
	*pipelinetest.Store
	tags  map[string]ocispec.Descriptor
	types map[digest.Digest]string
}

func newShelf() *shelf {
	return &shelf{pipelinetest.NewStore(), map[string]ocispec.Descriptor{}, map[digest.Digest]string{}}
}

// tag gives a manifest a name, and its children their types.
func (s *shelf) tag(name string, desc ocispec.Descriptor) {
	s.tags[name] = desc
	s.types[desc.Digest] = desc.MediaType
	var index ocispec.Index
	if json.Unmarshal(s.Bytes(desc.Digest), &index) == nil {
		for _, m := range index.Manifests {
			s.tag("@"+m.Digest.String(), m)
		}
	}
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind, name, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/team/app/"), "/")
	d := digest.Digest(name)
	if kind == "manifests" {
		if desc, tagged := s.tags[name]; tagged {
			d = desc.Digest
		}
		w.Header().Set("Content-Type", s.types[d])
		w.Header().Set("Docker-Content-Digest", d.String())
	}
	raw := s.Bytes(d)
	if !ok || raw == nil {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(raw))
}

// sample is an image with one small and one larger layer, tagged 1.
func sample(t testing.TB, c pipeline.Compression) (*shelf, ocispec.Manifest) {
	t.Helper()
	made, ok := samples.Load(c)
	if !ok {
		made, _ = samples.LoadOrStore(c, newSample(t, c))
	}
	from := made.(prepared) //nolint:forcetypeassert // nothing else is stored
	s := newShelf()
	for _, d := range append(from.manifest.Layers, from.manifest.Config, from.desc) {
		s.Put(d.MediaType, from.Bytes(d.Digest))
	}
	s.tag("1", from.desc)
	return s, from.manifest
}

// samples keeps what sample makes: compressing it anew for each test takes long.
var samples sync.Map

type prepared struct {
	*pipelinetest.Store
	desc     ocispec.Descriptor
	manifest ocispec.Manifest
}

func newSample(t testing.TB, c pipeline.Compression) prepared {
	t.Helper()
	p := prepared{Store: pipelinetest.NewStore()}
	p.desc = p.Image(t, pipelinetest.Image{Compression: c, Layers: [][]byte{
		pipelinetest.Tar(t, pipelinetest.File{Name: "etc/"}, pipelinetest.File{Name: "etc/passwd", Body: "root"}),
		pipelinetest.Tar(t, pipelinetest.File{Name: "noise", Body: noise(600 << 10)}),
	}})
	if err := json.Unmarshal(p.Bytes(p.desc.Digest), &p.manifest); err != nil {
		t.Fatal(err)
	}
	p.manifest.Layers = slices.Clip(p.manifest.Layers)
	return p
}

// noise is text that does not compress to nothing, the same each time.
func noise(n int) string { return strings.Repeat(block(), n/blockSize+1)[:n] }

// blockSize is more than gzip looks back.
const blockSize = 1 << 20

var block = sync.OnceValue(func() string {
	var b strings.Builder
	for i := 0; b.Len() < blockSize; i++ {
		sum := sha256.Sum256([]byte{byte(i), byte(i >> 8), byte(i >> 16)})
		b.WriteString(hex.EncodeToString(sum[:]))
	}
	return b.String()
})

// quick is a configuration whose waits are short.
func quick() remote.Config {
	return remote.Config{Backoff: time.Millisecond, Stall: 30 * time.Second}
}

func source(t testing.TB, cfg remote.Config, uri string) pipeline.Source {
	t.Helper()
	src, err := schemes(cfg).Source(uri)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func sink(t testing.TB, cfg remote.Config, uri string) pipeline.Sink {
	t.Helper()
	dst, err := schemes(cfg).Sink(uri)
	if err != nil {
		t.Fatal(err)
	}
	return dst
}

// pull runs an image into memory.
func pull(t testing.TB, cfg remote.Config, uri string, o pipeline.Options) (*pipelinetest.Sink, pipeline.Report, error) {
	t.Helper()
	dst := pipelinetest.NewSink()
	report, err := pipeline.Run(t.Context(), source(t, cfg, uri), nil, dst, o)
	return dst, report, err
}

// push runs an image of a store into a registry.
func push(t testing.TB, cfg remote.Config, src pipeline.Source, uri string, o pipeline.Options) (pipeline.Report, error) {
	t.Helper()
	return pipeline.Run(t.Context(), src, nil, sink(t, cfg, uri), o)
}

// emptyRegistry is go-containerregistry's server.
func emptyRegistry() http.Handler {
	return registry.New(registry.Logger(log.New(io.Discard, "", 0)))
}

// image is a source in memory whose layers are large enough to be streamed.
func image(t testing.TB, c pipeline.Compression) *pipelinetest.Source {
	t.Helper()
	s, _ := sample(t, c)
	return s.Source(s.tags["1"], "registry.example/team/app:1")
}

// wantError fails unless err holds all the texts.
func wantError(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", texts)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q lacks %q", err, text)
		}
	}
}
