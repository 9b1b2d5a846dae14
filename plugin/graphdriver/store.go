package graphdriver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline"
)

// DriverName is how Docker calls the graph driver that a Store reads.
const DriverName = "overlay2"

const (
	imagesFolder = "image/" + DriverName // below the daemon's root
	layersFolder = DriverName
	// configSize bounds a config: Docker's own limit for manifests and configs.
	configSize = 4 << 20
	// wordSize bounds the files that hold one word: a digest or an ID.
	wordSize = 256
	// mostLayers bounds the layers of an image: overlay2 itself takes 128.
	mostLayers = 1024
)

// A Store is the image store of one daemon. Its methods may be called at once.
type Store struct {
	root   string
	images *os.Root
	layers *os.Root
}

var _ Depot = (*Store)(nil)

// Open opens the store of the daemon that keeps its data in root: docker info
// calls it "Docker Root Dir". Without the right to read it the error is
// fs.ErrPermission. The caller closes the store.
func Open(root string) (*Store, error) {
	if !filepath.IsAbs(root) {
		return nil, fmt.Errorf("the daemon's root %q is no absolute path", root)
	}
	s := &Store{root: root}
	var err error
	if s.images, err = os.OpenRoot(filepath.Join(root, imagesFolder)); err != nil {
		return nil, fmt.Errorf("open the image store of the daemon: %w", err)
	}
	if s.layers, err = os.OpenRoot(filepath.Join(root, layersFolder)); err != nil {
		return nil, errors.Join(fmt.Errorf("open the layers of the daemon: %w", err), s.images.Close())
	}
	return s, nil
}

// Close ends the store; readers that are open go on.
func (s *Store) Close() error { return errors.Join(s.images.Close(), s.layers.Close()) }

// Image returns an image, and the sizes of its layers, for which their tar-split
// is read.
func (s *Store) Image(ctx context.Context, id digest.Digest) (Image, error) {
	raw, diffIDs, err := s.config(id)
	if err != nil {
		return Image{}, err
	}
	i := Image{Config: raw, Layers: make([]Layer, len(diffIDs))}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for n, diffID := range diffIDs {
		g.Go(func() error {
			l, err := s.find(diffIDs[:n+1])
			if err == nil {
				i.Layers[n] = Layer{DiffID: diffID}
				i.Layers[n].Size, err = l.size(ctx)
			}
			return s.explain(diffID, err)
		})
	}
	return i, g.Wait()
}

// Layer returns a layer as a plain tar, see Depot.
func (s *Store) Layer(_ context.Context, image, diffID digest.Digest) (io.ReadCloser, error) {
	_, diffIDs, err := s.config(image)
	if err != nil {
		return nil, err
	}
	at := slices.Index(diffIDs, diffID)
	if at < 0 {
		return nil, fmt.Errorf("image %s has no layer %s: %w", image, diffID, pipeline.ErrNotFound)
	}
	l, err := s.find(diffIDs[:at+1])
	if err == nil {
		var a *assembly
		if a, err = l.assemble(); err == nil {
			return newStream(l, a), nil
		}
	}
	return nil, s.explain(diffID, err)
}

// config reads an image's config and checks it.
func (s *Store) config(id digest.Digest) (raw []byte, diffIDs []digest.Digest, err error) {
	if err := check(id); err != nil {
		return nil, nil, fmt.Errorf("image %q: %w", id, err)
	}
	raw, err = readAll(s.images, "imagedb/content/"+id.Algorithm().String()+"/"+id.Encoded(), configSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("image %s is not in %s: %w", id, s.root, pipeline.ErrNotFound)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the config of image %s: %w", id, err)
	}
	if got := id.Algorithm().FromBytes(raw); got != id {
		return nil, nil, pipeline.DigestError("the config of image "+id.String()+" in "+s.root, id, got)
	}
	var c struct {
		RootFS struct {
			DiffIDs []digest.Digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, nil, fmt.Errorf("read the config of image %s: %w", id, err)
	}
	if n := len(c.RootFS.DiffIDs); n > mostLayers {
		return nil, nil, fmt.Errorf("image %s has %d layers, more than %d: %w", id, n, mostLayers, pipeline.ErrLimit)
	}
	for _, d := range c.RootFS.DiffIDs {
		if err := check(d); err != nil {
			return nil, nil, fmt.Errorf("image %s: diff ID %q: %w", id, d, err)
		}
	}
	return raw, c.RootFS.DiffIDs, nil
}

// check refuses what is no digest that Docker would use.
func check(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return err
	}
	if d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("graph drivers have no digests by %s", d.Algorithm())
	}
	return nil
}

// find returns the layer upon those below it, the last of diffIDs.
func (s *Store) find(diffIDs []digest.Digest) (*layer, error) {
	chain := chainID(diffIDs)
	l := &layer{store: s, diffID: diffIDs[len(diffIDs)-1], at: "layerdb/" + chain.Algorithm().String() + "/" + chain.Encoded()}
	said, err := word(s.images, l.at+"/diff")
	if err != nil {
		return nil, err
	}
	if said != l.diffID.String() {
		return nil, fmt.Errorf("%s/diff says that it is %q: the store is damaged", l.at, said)
	}
	if l.cacheID, err = word(s.images, l.at+"/cache-id"); err != nil {
		return nil, err
	}
	// Joined to a path: one component, and not one that leads up.
	if l.cacheID == "" || l.cacheID == "." || l.cacheID == ".." || strings.ContainsAny(l.cacheID, "/\x00") {
		return nil, fmt.Errorf("%s/cache-id is %q, which names no folder: the store is damaged", l.at, l.cacheID)
	}
	return l, nil
}

// chainID is the name of a layer upon those below it: of the OCI image
// specification, config.md.
func chainID(diffIDs []digest.Digest) digest.Digest {
	chain := diffIDs[0]
	for _, d := range diffIDs[1:] {
		chain = digest.FromString(chain.String() + " " + d.String())
	}
	return chain
}

// explain says which layer an error is about, and what it may mean that something
// is not there.
func (s *Store) explain(diffID digest.Digest, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("layer %s is not whole in %s; was the image deleted meanwhile? %w: %w", diffID, s.root, pipeline.ErrNotFound, err)
	}
	return fmt.Errorf("layer %s in %s: %w", diffID, s.root, err)
}

// word reads a file that holds one.
func word(in *os.Root, name string) (string, error) {
	raw, err := readAll(in, name, wordSize)
	return strings.TrimSpace(string(raw)), err
}

// readAll reads a small file.
func readAll(in *os.Root, name string, most int64) ([]byte, error) {
	f, err := openFile(in, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(raw)) > most {
		err = fmt.Errorf("%s has more than %d bytes: %w", name, most, pipeline.ErrLimit)
	}
	return raw, err
}
