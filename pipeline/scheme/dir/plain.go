package dir

import (
	"context"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/imagename"
	"github.com/occystrap/occystrap/pipeline/internal/ocilayout"
)

// plain reads the plain layout, ours and that of the Python tool. It makes an
// OCI manifest for each image: there is none in the directory.
type plain struct {
	content
	events pipeline.Events
}

// images are those of all manifest files. One that cannot be used is left out,
// aloud, as long as there is another: a directory is shared.
func (p *plain) images(ctx context.Context) ([]image, error) {
	entries, err := p.entriesWithNames()
	if err != nil {
		return nil, err
	}
	var images []image
	var failed []error
	at := map[digest.Digest]int{}
	for _, e := range entries {
		i, err := p.image(ctx, e.savedImage)
		if err != nil {
			failed = append(failed, fmt.Errorf("image %s of %s: %w", e.title(), e.file, err))
			continue
		}
		i.Names = e.names
		if j, ok := at[i.Desc.Digest]; ok {
			images[j].Names = imagename.Append(images[j].Names, i.Names...)
			continue
		}
		at[i.Desc.Digest] = len(images)
		images = append(images, i)
	}
	if len(images) == 0 && len(failed) > 0 {
		return nil, failed[0]
	}
	if len(images) == 0 {
		return nil, fmt.Errorf("it lists no image: %w", pipeline.ErrNotFound)
	}
	for _, err := range failed {
		p.events.Warn(fmt.Sprintf("%s: left out: %v", p.what, err))
	}
	return images, nil
}

// An entry is a savedImage with the file that lists it and all its names.
type entry struct {
	savedImage
	file  string
	names []string
}

func (e entry) title() string {
	if len(e.names) > 0 {
		return e.names[0]
	}
	return e.Config
}

// entriesWithNames reads the manifest files, and the names from the catalog;
// who has none there has those that its own entry tells.
func (p *plain) entriesWithNames() ([]entry, error) {
	c, err := p.readCatalog()
	if err != nil {
		p.events.Warn(fmt.Sprintf("%s: %v; the names come from the manifests", p.what, err))
	}
	files, err := p.listings()
	if err != nil {
		return nil, err
	}
	var entries []entry
	var damaged error
	taken := map[string]bool{}
	for _, file := range files {
		l, err := p.readListing(file)
		if err != nil {
			damaged = err
			p.events.Warn(fmt.Sprintf("%s: left out: %v", p.what, err))
			continue
		}
		names, stale := c.namesIn(l)
		for _, s := range stale {
			p.events.Warn(fmt.Sprintf("%s: %s says that %s is in %s, which holds another image by now; left out", p.what, catalogJSON, s, file))
		}
		for i, s := range l.images {
			entries = append(entries, entry{s, file, names[i]})
			for _, n := range names[i] {
				taken[n] = true
			}
		}
	}
	for i, e := range entries {
		if len(e.names) > 0 {
			continue
		}
		for _, n := range e.savedImage.names() {
			if !taken[n] {
				taken[n] = true
				entries[i].names = append(entries[i].names, n)
			}
		}
	}
	if len(entries) == 0 && damaged != nil {
		return nil, damaged
	}
	return entries, nil
}

// image makes the manifest of one image.
func (p *plain) image(ctx context.Context, s savedImage) (image, error) {
	layers, err := p.layers(ctx, s.Layers)
	if err != nil {
		return image{}, err
	}
	config, diffIDs, err := p.config(ctx, s, layers)
	if err != nil {
		return image{}, err
	}
	for i := range layers {
		if layers[i].desc.Digest == "" { // a plain tar: its digest is its diff ID
			layers[i].desc.Digest = diffIDs[i]
		}
		p.files[layers[i].desc.Digest] = layers[i].file
	}
	desc, raw, err := pipeline.NewManifest(config, descriptors(layers))
	if err != nil {
		return image{}, err
	}
	p.made[desc.Digest] = raw
	return image{Root: pipeline.Root{Desc: desc}, config: config.Digest}, nil
}

func descriptors(layers []layerFile) []ocispec.Descriptor {
	out := make([]ocispec.Descriptor, len(layers))
	for i, l := range layers {
		out[i] = l.desc
	}
	return out
}

// config reads and verifies a config, and its diff IDs.
func (p *plain) config(ctx context.Context, s savedImage, layers []layerFile) (desc ocispec.Descriptor, diffIDs []digest.Digest, err error) {
	name, err := ocilayout.Within("directory", s.Config)
	if err != nil {
		return desc, nil, err
	}
	raw, err := p.read(name)
	if err != nil {
		return desc, nil, fmt.Errorf("config: %w; the image is incomplete, save it again", err)
	}
	diffIDs, err = readDiffIDs(raw, name)
	if err != nil {
		return desc, nil, err
	}
	if len(diffIDs) != len(layers) {
		return desc, nil, fmt.Errorf("its config has %d diff IDs for %d layers; the directory is damaged, save the image again", len(diffIDs), len(layers))
	}
	if want := namedDigest(name); want != "" && want != digest.FromBytes(raw) {
		if !rewrittenByPython(raw) {
			return desc, nil, pipeline.DigestError("config "+name, want, digest.FromBytes(raw))
		}
		p.events.Warn(fmt.Sprintf("%s: the Python tool wrote the config %s anew: the image's ID is another one than it was", p.what, name))
		if raw, diffIDs, err = p.repaired(ctx, raw, diffIDs, layers); err != nil {
			return desc, nil, err
		}
	}
	desc = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	p.made[desc.Digest] = raw
	return desc, diffIDs, nil
}

// repaired gives a config that the Python tool passed by its filters the diff
// IDs of the layers that came out of them. It named such a layer by its digest,
// which tells it from one that is damaged.
func (p *plain) repaired(ctx context.Context, raw []byte, diffIDs []digest.Digest, layers []layerFile) ([]byte, []digest.Digest, error) {
	was := slices.Clone(diffIDs)
	diffIDs = slices.Clone(diffIDs)
	for i, l := range layers {
		promised := namedDigest(l.file)
		if l.desc.Digest != "" || promised == "" || promised == diffIDs[i] {
			continue
		}
		got, err := p.hash(ctx, l.file, digest.SHA256)
		if err != nil {
			return nil, nil, err
		}
		if got == promised {
			diffIDs[i] = got
		}
	}
	if slices.Equal(was, diffIDs) {
		return raw, diffIDs, nil
	}
	p.events.Warn(p.what + ": the Python tool filtered layers and left the diff IDs in the config as they were; they are put right")
	raw, err := pipeline.EditJSON(raw, func(o *pipeline.Object) error {
		rootfs, err := pipeline.ParseObject(o.Get("rootfs"))
		if err != nil {
			return err
		}
		if err := rootfs.Set("diff_ids", diffIDs); err != nil {
			return err
		}
		return o.Set("rootfs", rootfs)
	})
	return raw, diffIDs, err
}
