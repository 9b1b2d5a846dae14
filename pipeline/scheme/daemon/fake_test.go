package daemon_test

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
)

// A fake is an engine on a unix socket: it answers as real ones were seen to.
type fake struct {
	host string
	// How the engine introduces itself.
	api     string // its API version
	podman  bool
	indexes bool // the containerd store
	kernel  string
	noInfo  bool // /info is refused, as by a proxy that lets only images through
	// What it holds and exports.
	archive func(w http.ResponseWriter, names []string)
	// answer replaces the answer to a load after the body was read.
	answer func(w http.ResponseWriter)
	// early replaces the whole handling of a load.
	early http.HandlerFunc
	// spoil changes what was loaded, as a store that loses things does.
	spoil func(*held)
	// pushes makes the engine push; nil: it does not know how to.
	pushes *pushes
	// status and body are the answer to every inspect, when set.
	status int
	body   string

	// pull answers a pull; nil: it does not pull, nor come to a registry.
	pull http.HandlerFunc
	// before is called before a load is looked at, without the lock.
	before func()

	mu       sync.Mutex
	blobs    map[digest.Digest][]byte // of what was loaded
	loads    [][]digest.Digest        // the layers in each archive, as they are stored
	images   []*held
	requests []string
	aborted  int // loads whose body was cut
	removed  []string
}

// held is an image in the fake.
type held struct {
	ID        string   `json:"Id"`
	RepoTags  []string `json:"RepoTags"`
	RootFS    rootFS
	Desc      *ocispec.Descriptor `json:"Descriptor,omitempty"`
	Manifests []summary           `json:",omitempty"`

	root ocispec.Descriptor // what is pushed
}

type rootFS struct{ Layers []string }

type summary struct {
	ID         string
	Descriptor ocispec.Descriptor
	Available  bool
	Kind       string
	ImageData  struct{ Platform ocispec.Platform }
}

// start serves the fake until the test ends.
func start(t testing.TB, f *fake) *fake {
	t.Helper()
	dir, err := os.MkdirTemp("", "engine") //nolint:usetesting // t.TempDir may be longer than the 107 bytes of a socket's path
	must(t, err)
	path := filepath.Join(dir, "s")
	f.host = "unix://" + path
	l, err := net.Listen("unix", path)
	must(t, err)
	f.serve(t, l)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return f
}

// startTCP serves the fake on a port instead.
func startTCP(t testing.TB, f *fake) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	f.host = "tcp://" + l.Addr().String()
	f.serve(t, l)
	return f
}

func (f *fake) serve(t testing.TB, l net.Listener) {
	t.Helper()
	if f.api == "" {
		f.api = "1.41"
	}
	srv := &http.Server{Handler: f.routes()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
}

func (f *fake) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Api-Version", f.api) })
	mux.HandleFunc("GET /version", f.version)
	mux.HandleFunc("GET /info", f.info)
	if f.pull != nil {
		mux.HandleFunc("GET /distribution/{rest...}", f.distribution)
	}
	mux.HandleFunc("GET /images/get", f.save)
	mux.HandleFunc("POST /images/load", f.load)
	mux.HandleFunc("GET /images/{rest...}", f.inspect)
	mux.HandleFunc("GET /images/json", f.list)
	mux.HandleFunc("POST /images/create", func(w http.ResponseWriter, r *http.Request) {
		if f.pull != nil && r.URL.Query().Has("fromImage") {
			f.pull(w, r)
			return
		}
		f.importImage(w, r)
	})
	mux.HandleFunc("POST /images/{rest...}", f.tag)
	mux.HandleFunc("DELETE /images/{rest...}", f.remove)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = strings.TrimPrefix(r.URL.Path, "/v"+f.api)
		f.mu.Lock()
		f.requests = append(f.requests, r.Method+" "+r.URL.RequestURI())
		f.mu.Unlock()
		mux.ServeHTTP(w, r)
	})
}

// distribution asks a registry for a manifest, with the login that came.
func (f *fake) distribution(w http.ResponseWriter, r *http.Request) {
	var login struct{ Username, Password string }
	raw, err := base64.URLEncoding.DecodeString(r.Header.Get("X-Registry-Auth"))
	if err == nil {
		err = json.Unmarshal(raw, &login)
	}
	host, rest, _ := strings.Cut(strings.TrimSuffix(r.PathValue("rest"), "/json"), "/")
	repository, tag, _ := strings.Cut(rest, ":")
	if err == nil {
		var req *http.Request
		req, err = http.NewRequestWithContext(r.Context(), http.MethodHead, "http://"+host+"/v2/"+repository+"/manifests/"+tag, http.NoBody)
		if err == nil {
			req.SetBasicAuth(login.Username, login.Password)
			var resp *http.Response
			if resp, err = (&http.Transport{DisableKeepAlives: true}).RoundTrip(req); err == nil {
				_ = resp.Body.Close()
			}
		}
	}
	complain(w, http.StatusNotFound, "no such manifest, %v", err)
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func complain(w http.ResponseWriter, status int, format string, args ...any) {
	reply(w, status, map[string]string{"message": fmt.Sprintf(format, args...)})
}

func (f *fake) version(w http.ResponseWriter, _ *http.Request) {
	name := "Engine"
	if f.podman {
		name = "Podman Engine"
	}
	reply(w, http.StatusOK, map[string]any{
		"ApiVersion": f.api, "Os": "linux", "Arch": "amd64",
		"Components": []map[string]string{{"Name": name}},
	})
}

func (f *fake) info(w http.ResponseWriter, _ *http.Request) {
	if f.noInfo {
		complain(w, http.StatusForbidden, "not for you")
		return
	}
	status := [][2]string{{"Backing Filesystem", "extfs"}}
	if f.indexes {
		status = [][2]string{{"driver-type", "io.containerd.snapshotter.v1"}}
	}
	reply(w, http.StatusOK, map[string]any{"DriverStatus": status, "KernelVersion": f.kernel})
}

// find looks an image up as engines do: by name, then by the start of its ID.
func (f *fake) find(name string) *held {
	full := ""
	if n, err := reference.ParseNormalizedNamed(name); err == nil {
		full = reference.TagNameOnly(n).String()
	}
	for _, i := range f.images {
		if slices.Contains(i.RepoTags, full) {
			return i
		}
	}
	for _, i := range f.images {
		if id := strings.TrimPrefix(name, "sha256:"); strings.HasPrefix(strings.TrimPrefix(i.ID, "sha256:"), id) {
			return i
		}
	}
	return nil
}

func (f *fake) inspect(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.status != 0 {
		complain(w, f.status, "%s", f.body)
		return
	}
	if r.PathValue("rest") == "json" {
		reply(w, http.StatusOK, f.images)
		return
	}
	name := strings.TrimSuffix(r.PathValue("rest"), "/json")
	i := f.find(name)
	if i == nil {
		complain(w, http.StatusNotFound, "No such image: %s", name)
		return
	}
	shown := *i
	if r.URL.Query().Get("manifests") == "" {
		shown.Manifests = nil
	}
	reply(w, http.StatusOK, shown)
}

func (f *fake) save(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-tar")
	f.archive(w, r.URL.Query()["names"])
}

func (f *fake) tag(w http.ResponseWriter, r *http.Request) {
	if name, ok := strings.CutSuffix(r.PathValue("rest"), "/push"); ok && f.pushes != nil {
		f.push(w, r, name)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.find(strings.TrimSuffix(r.PathValue("rest"), "/tag"))
	if i == nil {
		complain(w, http.StatusNotFound, "No such image")
		return
	}
	full := r.URL.Query().Get("repo") + ":" + r.URL.Query().Get("tag")
	for _, other := range f.images {
		other.RepoTags = slices.DeleteFunc(other.RepoTags, func(t string) bool { return t == full })
	}
	i.RepoTags = append(i.RepoTags, full)
	w.WriteHeader(http.StatusCreated)
}

func (f *fake) remove(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.find(r.PathValue("rest"))
	switch n := slices.Index(tagsOf(i), r.PathValue("rest")); {
	case n >= 0 && len(i.RepoTags) > 1:
		i.RepoTags = slices.Delete(i.RepoTags, n, n+1)
	default:
		f.images = slices.DeleteFunc(f.images, func(h *held) bool { return h == i })
	}
	f.removed = append(f.removed, r.PathValue("rest"))
	reply(w, http.StatusOK, []string{})
}

// load takes an archive with an OCI layout; a graph driver and Podman know an
// image by its config, the containerd store by its root.
func (f *fake) load(w http.ResponseWriter, r *http.Request) {
	if f.early != nil {
		f.early(w, r)
		return
	}
	var body bytes.Buffer
	blobs, index, err := unpack(io.TeeReader(r.Body, &body))
	if err != nil {
		f.mu.Lock()
		f.aborted++
		f.mu.Unlock()
		complain(w, http.StatusInternalServerError, "%v", err)
		return
	}
	if f.before != nil {
		f.before()
	}
	for _, root := range index.Manifests {
		i := f.arrive(root, blobs)
		if i == nil {
			_, _ = io.WriteString(w, `{"errorDetail":{"message":"manifest not in archive"}}`)
			return
		}
		if f.spoil != nil {
			f.spoil(i)
		}
		f.mu.Lock()
		f.keep(blobs)
		f.images = append(f.images, i)
		f.archive = func(w http.ResponseWriter, _ []string) { _, _ = w.Write(body.Bytes()) }
		f.mu.Unlock()
		if f.answer == nil {
			_, _ = fmt.Fprintf(w, `{"stream":"Loaded image ID: %s\n"}`, i.ID)
		}
	}
	if f.answer != nil {
		f.answer(w)
	}
}

func (f *fake) arrive(root ocispec.Descriptor, blobs map[digest.Digest][]byte) *held {
	i := &held{ID: root.Digest.String(), Desc: &root, root: root}
	children := []ocispec.Descriptor{root}
	if root.MediaType == ocispec.MediaTypeImageIndex {
		var index ocispec.Index
		if json.Unmarshal(blobs[root.Digest], &index) != nil {
			return nil
		}
		children = index.Manifests
	}
	for _, d := range children {
		var m ocispec.Manifest
		var config ocispec.Image
		if json.Unmarshal(blobs[d.Digest], &m) != nil || json.Unmarshal(blobs[m.Config.Digest], &config) != nil {
			return nil
		}
		if !f.indexes {
			i.ID, i.Desc, i.root = m.Config.Digest.String(), nil, d
		}
		s := summary{ID: d.Digest.String(), Descriptor: d, Available: true, Kind: "image"}
		s.ImageData.Platform = config.Platform
		var came []digest.Digest
		for n, l := range m.Layers {
			s.Available = s.Available && blobs[l.Digest] != nil
			if blobs[l.Digest] != nil {
				came = append(came, l.Digest)
			} else if !f.indexes && (f.podman || !f.hasLayers(config.RootFS.DiffIDs[:n+1])) {
				return nil
			}
		}
		f.mu.Lock()
		f.loads = append(f.loads, came)
		f.mu.Unlock()
		i.Manifests = append(i.Manifests, s)
		if config.OS == "unknown" { // an attestation
			continue
		}
		i.RootFS.Layers = nil
		for _, d := range config.RootFS.DiffIDs {
			i.RootFS.Layers = append(i.RootFS.Layers, d.String())
		}
	}
	return i
}

// hasLayers says whether a graph driver has these layers upon one another.
func (f *fake) hasLayers(diffIDs []digest.Digest) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.images, func(h *held) bool {
		if len(h.RootFS.Layers) < len(diffIDs) {
			return false
		}
		return slices.EqualFunc(diffIDs, h.RootFS.Layers[:len(diffIDs)], func(d digest.Digest, s string) bool { return d.String() == s })
	})
}

// unpack reads an archive to its end.
func unpack(r io.Reader) (map[digest.Digest][]byte, ocispec.Index, error) {
	blobs := map[digest.Digest][]byte{}
	var index ocispec.Index
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			_, err := io.Copy(io.Discard, r) // the end of the request, not only of the tar
			return blobs, index, err
		}
		if err != nil {
			return nil, index, err
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			return nil, index, err
		}
		blobs[digest.FromBytes(b)] = b
		if h.Name == "index.json" {
			if err := json.Unmarshal(b, &index); err != nil {
				return nil, index, err
			}
		}
	}
}

// holds makes the fake hold an image and export it from an archive.
func (f *fake) holds(t testing.TB, i image, tag string, members []member) *fake {
	t.Helper()
	h := &held{ID: i.configDigest().String()}
	if f.indexes {
		h.ID, h.Desc = i.desc.Digest.String(), &i.desc
	}
	h.root = i.desc
	blobs := map[digest.Digest][]byte{i.desc.Digest: i.manifest, i.configDigest(): i.config}
	for _, l := range i.layers {
		blobs[l.blob.Digest] = l.stored
	}
	f.keep(blobs)
	if tag != "" {
		h.RepoTags = []string{"docker.io/library/" + tag}
	}
	for _, d := range i.diffIDs() {
		h.RootFS.Layers = append(h.RootFS.Layers, d.String())
	}
	f.images = append(f.images, h)
	body := pack(t, members...)
	f.archive = func(w http.ResponseWriter, _ []string) { _, _ = w.Write(body) }
	return f
}

func (f *fake) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.requests)
}

// tags are all names in the fake, each with the ID behind it.
func (f *fake) tags() map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string]string{}
	for _, i := range f.images {
		for _, t := range i.RepoTags {
			out[t] = i.ID
		}
	}
	return out
}

// uri is a location in the fake.
func (f *fake) uri(image string) string {
	return "docker://" + image + "?socket=" + f.host
}

func schemes(cfg daemon.Config) pipeline.Schemes { return pipeline.Schemes{daemon.Scheme(cfg)} }
