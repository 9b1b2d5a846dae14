package layers_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"
	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
	"github.com/occystrap/occystrap/plugin/graphdriver"
	"github.com/occystrap/occystrap/plugin/graphdriver/layers"
)

// fakeClient is a daemon that knows one image.
type fakeClient struct {
	client.APIClient
	id digest.Digest
}

func (f fakeClient) ImageInspect(context.Context, string, ...client.ImageInspectOption) (client.ImageInspectResult, error) {
	return client.ImageInspectResult{InspectResponse: image.InspectResponse{ID: f.id.String(), RepoTags: []string{"app:1"}}}, nil
}

func (fakeClient) DaemonHost() string { return "unix:///fake" }

// at is a daemon with overlay2 that has an image of some layers.
func at(t *testing.T, tars ...[]byte) (*pipelinetest.GraphDriver, digest.Digest, daemon.Target) {
	t.Helper()
	g := pipelinetest.NewGraphDriver(t)
	id := g.Image(t, tars...)
	ref, err := daemon.ParseReference("app:1")
	if err != nil {
		t.Fatal(err)
	}
	return g, id, daemon.Target{Images: []daemon.Reference{ref}, Place: &daemon.Place{
		Client: fakeClient{id: id}, Host: "unix:///fake", Store: daemon.StoreGraph, Driver: "overlay2", Root: g.Root,
	}}
}

var tars = func(t *testing.T) [][]byte {
	t.Helper()
	return [][]byte{
		pipelinetest.Tar(t, pipelinetest.File{Name: "etc/passwd", Body: "root\n"}, pipelinetest.File{Name: "bin/sh", Body: strings.Repeat("#", 700<<10)}),
		pipelinetest.Tar(t, pipelinetest.File{Name: "etc/.wh.passwd"}, pipelinetest.File{Name: "srv/x", Body: "x\n"}),
	}
}

func run(t *testing.T, l layers.Lane, target daemon.Target) (*pipelinetest.Sink, error) {
	t.Helper()
	dst := pipelinetest.NewSink()
	_, err := pipeline.Run(t.Context(), l.Source(target), nil, dst, pipeline.Options{})
	return dst, err
}

func TestTheImageComesAsTheDaemonWouldSaveIt(t *testing.T) {
	t.Parallel()
	all := tars(t)
	_, id, target := at(t, all...)
	lane := layers.Lane{}
	if why, err := lane.Fits(t.Context(), pipeline.SourceSide, target.Place); err != nil || why == "" {
		t.Fatalf("%q, %v", why, err)
	}
	dst, err := run(t, lane, target)
	if err != nil {
		t.Fatal(err)
	}
	if len(dst.Published) != 1 || len(dst.Published[0].Names) != 1 || dst.Published[0].Names[0] != "docker.io/library/app:1" {
		t.Fatalf("published: %+v", dst.Published)
	}
	if got := digest.FromBytes(dst.Published[0].Config); got != id {
		t.Errorf("the config is %s, the image's ID %s", got, id)
	}
	for i, l := range all {
		if dst.Store.Bytes(digest.FromBytes(l)) == nil {
			t.Errorf("layer %d did not come", i)
		}
	}
	if raw := string(dst.Published[0].Raw); !strings.HasPrefix(raw, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":`) {
		t.Errorf("the manifest is not in Docker's order: %s", raw)
	}
}

func TestADamagedLayerIsNotPublished(t *testing.T) {
	t.Parallel()
	all := tars(t)
	g, _, target := at(t, all...)
	if err := os.WriteFile(filepath.Join(g.Contents(digest.FromBytes(all[0])), "etc/passwd"), []byte("toor\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dst, err := run(t, layers.Lane{}, target)
	if !errors.Is(err, pipeline.ErrDigest) || !strings.Contains(err.Error(), `"etc/passwd" has another content`) || len(dst.Published) > 0 {
		t.Errorf("%v; published %d", err, len(dst.Published))
	}
}

// Before anything has moved another lane may do better; not where the files are
// wrong.
func TestWhatIsNotThereIsAnothersLanesBusiness(t *testing.T) {
	t.Parallel()
	all := tars(t)
	for name, damage := range map[string]func(*pipelinetest.GraphDriver, digest.Digest) error{
		"no config": func(g *pipelinetest.GraphDriver, id digest.Digest) error { return os.Remove(g.Config(id)) },
		"no tar-split": func(g *pipelinetest.GraphDriver, _ digest.Digest) error {
			return os.RemoveAll(g.Database(digest.FromBytes(all[0])))
		},
		"no root": func(g *pipelinetest.GraphDriver, _ digest.Digest) error { return os.RemoveAll(g.Root) },
	} {
		g, id, target := at(t, all...)
		if err := damage(g, id); err != nil {
			t.Fatal(err)
		}
		_, err := run(t, layers.Lane{}, target)
		if unfit := new(daemon.UnfitError); !errors.As(err, &unfit) {
			t.Errorf("%s: %v", name, err)
		}
	}
	g, id, target := at(t, all...)
	if err := os.WriteFile(g.Config(id), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := run(t, layers.Lane{}, target)
	if unfit := new(daemon.UnfitError); errors.As(err, &unfit) || !errors.Is(err, pipeline.ErrDigest) {
		t.Errorf("a damaged config: %v", err)
	}
}

func TestDaemonsWithoutOverlay2AreToldWhy(t *testing.T) {
	t.Parallel()
	_, _, target := at(t, tars(t)...)
	for want, change := range map[string]func(p *daemon.Place){
		"Podman":           func(p *daemon.Place) { p.Store = daemon.StorePodman },
		"in containerd":    func(p *daemon.Place) { p.Store = daemon.StoreContainerd },
		"does not say how": func(p *daemon.Place) { p.Store = daemon.StoreUnknown },
		"fuse-overlayfs":   func(p *daemon.Place) { p.Driver = "fuse-overlayfs" },
		"without root":     func(p *daemon.Place) { p.Rootless = true },
		"say where":        func(p *daemon.Place) { p.Root = "" },
		"another machine":  func(p *daemon.Place) { p.FilesAway = "the daemon is another machine" },
		"no such file":     func(p *daemon.Place) { p.Root = "/nowhere/docker" },
	} {
		p := *target.Place
		change(&p)
		if why, err := (layers.Lane{}).Fits(t.Context(), pipeline.SourceSide, &p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q, %v; want %q", why, err, want)
		}
	}
	if _, err := (layers.Lane{}).Fits(t.Context(), pipeline.SinkSide, target.Place); err == nil {
		t.Error("it leads into a daemon")
	}
}

// lender lends a store, as the sidecar does.
type lender struct {
	*graphdriver.Store
	lent, closed *int
	refuses      error
}

func (l lender) Depot(context.Context, string) (graphdriver.Depot, error) { return l, l.refuses }

func (l lender) Layer(ctx context.Context, image, diffID digest.Digest) (io.ReadCloser, error) {
	*l.lent++
	return l.Store.Layer(ctx, image, diffID)
}

func (l lender) Close() error {
	*l.closed++
	return nil
}

// Who may not read the files gets them from the sidecar, if it lends them.
func TestFilesThatMayNotBeReadAreLent(t *testing.T) {
	t.Parallel()
	if pipelinetest.AsNobody(t, "^TestFilesThatMayNotBeReadAreLent$") {
		return // root may read all
	}
	g, _, target := at(t, tars(t)[1]) // one layer: lent is counted without a lock
	store, err := graphdriver.Open(g.Root)
	if err != nil {
		t.Fatal(err)
	}
	shut := filepath.Join(g.Root, "image")
	if err := os.Chmod(shut, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(os.Chmod(shut, 0o700), store.Close()) })
	if _, err := (layers.Lane{}).Fits(t.Context(), pipeline.SourceSide, target.Place); err == nil || !strings.Contains(err.Error(), "by root only") {
		t.Errorf("%v", err)
	}
	l := lender{Store: store, lent: new(int), closed: new(int), refuses: errors.New("not yours")}
	if _, err := (layers.Lane{Lender: l}).Fits(t.Context(), pipeline.SourceSide, target.Place); err == nil || !strings.Contains(err.Error(), "not yours") {
		t.Errorf("%v", err)
	}
	l.refuses = nil
	why, err := layers.Lane{Lender: l}.Fits(t.Context(), pipeline.SourceSide, target.Place)
	if err != nil || !strings.Contains(why, "sidecar") {
		t.Errorf("%q, %v", why, err)
	}
	dst, err := run(t, layers.Lane{Lender: l}, target)
	if err != nil || len(dst.Published) != 1 || *l.lent != 1 || *l.closed != 2 {
		t.Errorf("%v; %d published, %d layers lent, closed %d times", err, len(dst.Published), *l.lent, *l.closed)
	}
}
