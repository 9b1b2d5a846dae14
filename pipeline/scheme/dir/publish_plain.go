package dir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/imagename"
)

// A plainImage is a root of this run as the plain layout lists it.
type plainImage struct {
	savedImage
	full   []string // its names
	config []byte
	layers []digest.Digest
	tree   string // temporary name of its unpacked file system
}

// publishPlain writes configs, manifest files and the catalog, in this order:
// whenever a run is killed, all images that a manifest file lists are whole.
func (s *sink) publishPlain(ctx context.Context) error {
	images, err := s.plainImages(ctx)
	if err != nil {
		return err
	}
	for i := range images {
		if s.expand {
			if images[i].tree, err = s.unpack(ctx, images[i]); err != nil {
				return err
			}
		}
		if s.each {
			if err := s.unpackLayers(ctx, images[i]); err != nil {
				return err
			}
		}
		if err := s.add.Prepare(ctx, Image{images[i].config, images[i].layers}); err != nil {
			return err
		}
	}
	if err := s.placeLayers(); err != nil {
		return err
	}
	for _, i := range images {
		if err := s.session.Write(i.Config, i.config); err != nil {
			return err
		}
	}
	unlock, err := s.session.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	l, err := s.readLists()
	if err != nil {
		return err
	}
	if err := s.add.Place(); err != nil {
		return err
	}
	for d, tree := range s.trees {
		if err := s.session.PlaceTree(tree, layerTree(d)); err != nil {
			return err
		}
	}
	files := l.put(images, s.unique)
	for i, img := range images {
		if img.tree == "" {
			continue
		}
		if err := s.session.PlaceTree(img.tree, treeName(files[i])); err != nil {
			return err
		}
	}
	if err := l.write(s.session); err != nil {
		return err
	}
	return s.add.Show()
}

// plainImages are the roots of this run, complete.
func (s *sink) plainImages(ctx context.Context) ([]plainImage, error) {
	byDigest := map[digest.Digest]pipeline.Manifest{}
	for _, m := range s.manifests {
		byDigest[m.Desc.Digest] = m
	}
	var out []plainImage
	for _, m := range s.manifests {
		if !m.Root {
			continue
		}
		i, err := s.plainImage(ctx, m, byDigest)
		if err != nil {
			return nil, err
		}
		out = append(out, i)
	}
	return out, nil
}

func (s *sink) plainImage(ctx context.Context, m pipeline.Manifest, byDigest map[digest.Digest]pipeline.Manifest) (i plainImage, err error) {
	names := m.Names
	if m, err = only(m, byDigest); err != nil {
		return i, err
	}
	var fields struct {
		Config ocispec.Descriptor   `json:"config"`
		Layers []ocispec.Descriptor `json:"layers"`
	}
	if err := json.Unmarshal(m.Raw, &fields); err != nil {
		return i, fmt.Errorf("manifest %s: %w", m.Desc.Digest, err)
	}
	if t := fields.Config.MediaType; t != ocispec.MediaTypeImageConfig && t != pipeline.MediaTypeDockerConfig {
		return i, errNotPlain("attestations and artifacts")
	}
	i.full, i.config = imagename.AllFull(names), m.Config
	i.Config = configName(fields.Config.Digest)
	if i.layers, err = readDiffIDs(m.Config, i.Config); err != nil {
		return i, err
	}
	if len(i.layers) != len(fields.Layers) {
		return i, fmt.Errorf("config %s has %d diff IDs for %d layers", fields.Config.Digest, len(i.layers), len(fields.Layers))
	}
	i.Layers, i.RepoTags = []string{}, []string{}
	for _, d := range i.layers {
		if ok, err := s.has(ctx, d); err != nil {
			return i, err
		} else if !ok {
			return i, fmt.Errorf("layer %s did not come: its content is elsewhere (--foreign=fetch brings it along)", d)
		}
		i.Layers = append(i.Layers, layerName(d))
	}
	for _, n := range i.full {
		name, tag := imagename.Split(n)
		i.RepoTags = append(i.RepoTags, name+":"+tag)
	}
	if s.unique && len(i.full) > 0 {
		i.ImageName, _ = imagename.Split(i.full[0])
	}
	return i, nil
}

// only is the one image that a root stands for.
func only(m pipeline.Manifest, byDigest map[digest.Digest]pipeline.Manifest) (pipeline.Manifest, error) {
	if !pipeline.IsIndex(m.Desc.MediaType) {
		return m, nil
	}
	var idx ocispec.Index
	if err := json.Unmarshal(m.Raw, &idx); err != nil {
		return m, fmt.Errorf("index %s: %w", m.Desc.Digest, err)
	}
	var images []pipeline.Manifest
	for _, c := range idx.Manifests {
		if child, ok := byDigest[c.Digest]; ok {
			images = append(images, child)
		}
	}
	if len(images) != 1 || images[0].Config == nil {
		return m, errNotPlain(fmt.Sprintf("an index of %d images", len(images)))
	}
	return images[0], nil
}

// lists are all the lists of a plain directory, while it is locked.
type lists struct {
	catalog  catalog
	listings []listing
	changed  []string // files to write, in this order
	emptied  []string // files to remove
}

// readLists reads what is there. What cannot be read is set aside, and the
// catalog rebuilt from the manifest files.
func (s *sink) readLists() (*lists, error) {
	l := &lists{}
	files, err := s.session.listings()
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		li, err := s.session.readListing(f)
		if err == nil {
			l.listings = append(l.listings, li)
			continue
		}
		if err := s.setAside(f, err, "the images that only it listed have to be written again"); err != nil {
			return nil, err
		}
	}
	l.catalog, err = s.session.readCatalog()
	rebuild := l.catalog == nil
	if errors.Is(err, errDamaged) {
		if err := s.setAside(catalogJSON, err, "a new one is made from the manifests"); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	if rebuild {
		l.catalog = rebuilt(l.listings)
	}
	l.dropStale()
	return l, nil
}

// rebuilt is a catalog made from the manifest files.
func rebuilt(listings []listing) catalog {
	c := catalog{}
	taken := map[string]bool{}
	for _, l := range listings {
		for _, i := range l.images {
			for _, n := range i.names() {
				if !taken[n] {
					taken[n] = true
					c.add(n, l.file)
				}
			}
		}
	}
	return c
}

// dropStale removes names from the catalog whose image is not where it says.
func (l *lists) dropStale() {
	for name, tags := range l.catalog {
		for tag, file := range tags {
			full := imagename.Full(name + ":" + tag)
			i := slices.IndexFunc(l.listings, func(li listing) bool { return li.file == file })
			if i < 0 || !slices.ContainsFunc(l.listings[i].images, func(s savedImage) bool { return s.is(full) }) {
				delete(tags, tag)
			}
		}
		if len(tags) == 0 {
			delete(l.catalog, name)
		}
	}
}
