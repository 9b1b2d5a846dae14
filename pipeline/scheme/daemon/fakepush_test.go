package daemon_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/moby/moby/api/pkg/authconfig"
	registrytypes "github.com/moby/moby/api/types/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// pushes is how a fake engine pushes: as Docker does with the containerd store,
// blobs first, several at a time, then manifests, the root last.
type pushes struct {
	// before is called before each push.
	before func(p pushed)
	// imported is called when an image was imported, before that is said.
	imported func(r *http.Request)
	// dial is where an address of the loopback leads; nil: to ours.
	dial func(address string) string
	// atOnce is how many blobs of all pushes are sent at a time; 0 is 5.
	atOnce int
	// wrong sends other bytes than were asked for.
	wrong bool
	// cut breaks the stream of a push off that has begun to send blobs.
	cut bool

	once  sync.Once
	turns chan struct{}
	mu    sync.Mutex
	sent  map[digest.Digest]int // blobs, how often
}

// A pushed is a push that the engine was asked for.
type pushed struct {
	*pushes
	f       *fake
	address string // where to
	repo    string
	tag     string
	auth    *registrytypes.AuthConfig
}

// times is how often a blob was sent.
func (p *pushes) times(d digest.Digest) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent[d]
}

func tagsOf(i *held) []string {
	if i == nil {
		return nil
	}
	return i.RepoTags
}

// keep is called with the lock held, or before the fake is used.
func (f *fake) keep(blobs map[digest.Digest][]byte) {
	if f.blobs == nil {
		f.blobs = map[digest.Digest][]byte{}
	}
	maps.Copy(f.blobs, blobs)
}

func (f *fake) list(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	reply(w, http.StatusOK, f.images)
}

// importImage makes an image of a tar, with the tar as its layer.
func (f *fake) importImage(w http.ResponseWriter, r *http.Request) {
	if f.pushes == nil {
		complain(w, http.StatusNotFound, "page not found")
		return
	}
	tar, err := io.ReadAll(r.Body)
	if err != nil || r.URL.Query().Get("fromSrc") != "-" {
		complain(w, http.StatusBadRequest, "%v", err)
		return
	}
	layer := describe(ocispec.MediaTypeImageLayer, tar)
	config := []byte(fmt.Sprintf(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[%q]}}`, layer.Digest))
	manifest, err := json.Marshal(ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: describe(ocispec.MediaTypeImageConfig, config), Layers: []ocispec.Descriptor{layer}})
	if err != nil {
		complain(w, http.StatusInternalServerError, "%v", err)
		return
	}
	manifest = bytes.Replace(manifest, []byte(`"schemaVersion":0`), []byte(`"schemaVersion":2`), 1)
	root := describe(ocispec.MediaTypeImageManifest, manifest)
	f.mu.Lock()
	blobs := map[digest.Digest][]byte{layer.Digest: tar, digest.FromBytes(config): config, root.Digest: manifest}
	f.keep(blobs)
	i := &held{ID: root.Digest.String(), RepoTags: []string{r.URL.Query().Get("repo")}, RootFS: rootFS{[]string{layer.Digest.String()}}, root: root}
	if !f.indexes {
		i.ID = digest.FromBytes(config).String()
	}
	f.images = append(f.images, i)
	f.mu.Unlock()
	if f.pushes.imported != nil {
		f.pushes.imported(r)
	}
	_, _ = fmt.Fprintf(w, `{"status":%q}`, i.ID)
}

// push answers a request for one.
func (f *fake) push(w http.ResponseWriter, r *http.Request, repo string) {
	auth, err := authconfig.Decode(r.Header.Get(registrytypes.AuthHeader))
	if err != nil {
		complain(w, http.StatusBadRequest, "%v", err)
		return
	}
	if f.podman && r.URL.Query().Get("tlsVerify") != "false" {
		complain(w, http.StatusInternalServerError, "x509: certificate signed by unknown authority")
		return
	}
	f.pushes.once.Do(func() { f.pushes.turns = make(chan struct{}, cmp.Or(f.pushes.atOnce, 5)) })
	address, path, _ := strings.Cut(repo, "/")
	p := pushed{pushes: f.pushes, f: f, address: address, repo: path, tag: r.URL.Query().Get("tag"), auth: auth}
	f.mu.Lock()
	i := f.find(repo + ":" + p.tag)
	f.mu.Unlock()
	if i == nil {
		complain(w, http.StatusNotFound, "An image does not exist locally with the tag: %s", repo)
		return
	}
	_, _ = fmt.Fprintln(w, `{"status":"The push refers to a repository"}`)
	if f.pushes.before != nil {
		f.pushes.before(p)
	}
	if err := p.image(r.Context(), i.root); errors.Is(err, errCut) {
		panic(http.ErrAbortHandler)
	} else if err != nil {
		_ = json.NewEncoder(w).Encode(map[string]any{"errorDetail": map[string]string{"message": err.Error()}, "error": err.Error()})
	}
}

var errCut = errors.New("cut")

// image pushes what a descriptor reaches.
func (p pushed) image(ctx context.Context, root ocispec.Descriptor) error {
	blobs, manifests, err := p.reach(root)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, len(blobs))
	for n, d := range blobs {
		wg.Add(1)
		go func() {
			defer wg.Done()
			errs[n] = p.blob(ctx, d)
		}()
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, d := range manifests {
		ref := d.Digest.String()
		if d.Digest == root.Digest {
			ref = p.tag
		}
		if err := p.ask(ctx, http.MethodPut, "/manifests/"+ref, p.content(d.Digest), d.MediaType, http.StatusCreated); err != nil {
			return err
		}
	}
	return nil
}

// reach lists blobs, and manifests with the root last.
func (p pushed) reach(d ocispec.Descriptor) (blobs, manifests []ocispec.Descriptor, err error) {
	var doc struct {
		Config            *ocispec.Descriptor
		Layers, Manifests []ocispec.Descriptor
	}
	if err := json.Unmarshal(p.content(d.Digest), &doc); err != nil {
		return nil, nil, fmt.Errorf("NotFound: content digest %s: not found", d.Digest)
	}
	for _, child := range doc.Manifests {
		b, m, err := p.reach(child)
		if err != nil {
			return nil, nil, err
		}
		blobs, manifests = append(blobs, b...), append(manifests, m...)
	}
	if doc.Config != nil {
		blobs = append(append(blobs, doc.Layers...), *doc.Config)
	}
	known := map[digest.Digest]bool{}
	blobs = slices.DeleteFunc(blobs, func(d ocispec.Descriptor) bool {
		again := known[d.Digest]
		known[d.Digest] = true
		return again
	})
	return blobs, append(manifests, d), nil
}

func (p pushed) content(d digest.Digest) []byte {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	return p.f.blobs[d]
}

// blob sends a blob that is not there.
func (p pushed) blob(ctx context.Context, d ocispec.Descriptor) error {
	select {
	case p.turns <- struct{}{}:
		defer func() { <-p.turns }()
	case <-ctx.Done():
		return ctx.Err()
	}
	there, err := p.send(ctx, http.MethodHead, "/blobs/"+d.Digest.String(), nil, "") //nolint:bodyclose // request closes it
	if err != nil || there.StatusCode == http.StatusOK {
		return err
	}
	raw := p.content(d.Digest)
	if raw == nil {
		return fmt.Errorf("NotFound: content digest %s: not found", d.Digest)
	}
	if p.wrong {
		raw = bytes.Repeat([]byte("x"), len(raw))
	}
	begun, err := p.send(ctx, http.MethodPost, "/blobs/uploads/", nil, "") //nolint:bodyclose // request closes it
	if err != nil || begun.StatusCode != http.StatusAccepted {
		return fmt.Errorf("begin an upload: %v, %w", begun, err)
	}
	if p.cut && p.tag[len(p.tag)-1] != '0' { // not the stand-in
		return errCut
	}
	p.mu.Lock()
	if p.sent == nil {
		p.sent = map[digest.Digest]int{}
	}
	p.sent[d.Digest]++
	p.mu.Unlock()
	at := strings.TrimPrefix(begun.Header.Get("Location"), "/v2/"+p.repo)
	return p.ask(ctx, http.MethodPut, at+"?digest="+d.Digest.String(), raw, "application/octet-stream", http.StatusCreated)
}

// ask sends a request whose answer has to have a status.
func (p pushed) ask(ctx context.Context, method, path string, body []byte, mediaType string, status int) error {
	resp, err := p.send(ctx, method, path, body, mediaType) //nolint:bodyclose // request closes it
	if err == nil && resp.StatusCode != status {
		err = fmt.Errorf("unexpected status from %s request to %s: %s", method, path, resp.Status)
	}
	return err
}

// send sends a request with the push's login.
func (p pushed) send(ctx context.Context, method, path string, body []byte, mediaType string) (*http.Response, error) {
	return p.request(ctx, method, path, body, func(r *http.Request) {
		r.SetBasicAuth(p.auth.Username, p.auth.Password)
		if mediaType != "" {
			r.Header.Set("Content-Type", mediaType)
		}
	})
}

// request sends any request to where the push goes; the answer's body is read.
func (p pushed) request(ctx context.Context, method, path string, body []byte, edit func(*http.Request)) (*http.Response, error) {
	to := p.address
	if p.dial != nil {
		to = p.dial(to)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+to+"/v2/"+p.repo+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Host = p.address
	edit(r)
	t := &http.Transport{DisableKeepAlives: true}
	resp, err := t.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp, errors.Join(err, resp.Body.Close())
}
