package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// An imageEditor brings one image's manifest and config up to date with what
// became of its layers.
type imageEditor struct {
	run     *run
	results map[digest.Digest]*rewritten // what became of other manifests
	n       *rewritten
	m       imageManifest
	image   bool
	diffIDs []digest.Digest

	removed []int // layers that were left out
	oci     bool  // it got what a Docker manifest cannot say: zstd, annotations
}

func (e *imageEditor) edit(ctx context.Context) error {
	o, err := ParseObject(e.n.Raw)
	if err != nil {
		return on(SourceSide, err)
	}
	layers, err := objects(o.Get("layers"))
	if err != nil && len(e.m.Layers) > 0 {
		return on(SourceSide, err)
	}
	count := len(layers)
	if count != len(e.m.Layers) {
		return on(SourceSide, fmt.Errorf("its layers read as %d and as %d", count, len(e.m.Layers)))
	}
	for i, desc := range e.m.Layers {
		if !e.image || isOpaque(desc.MediaType) {
			e.n.opaque = append(e.n.opaque, i)
			continue
		}
		if err := e.layer(i, layers[i], desc); err != nil {
			return err
		}
	}
	for _, i := range slices.Backward(e.removed) {
		layers = slices.Delete(layers, i, i+1)
		e.diffIDs = slices.Delete(e.diffIDs, i, i+1)
	}
	if err := e.annotate(ctx, o); err != nil {
		return err
	}
	if err := e.toOCI(o, layers); err != nil {
		return err
	}
	if count > 0 {
		if err := o.setObjects("layers", count, layers); err != nil {
			return err
		}
	}
	if err := e.config(ctx, o); err != nil {
		return err
	}
	if err := e.subject(o); err != nil {
		return err
	}
	e.n.seal(o)
	return nil
}

// subject follows an image that changed, in an attestation that was to be kept.
func (e *imageEditor) subject(o *Object) error {
	if e.m.Subject == nil {
		return nil
	}
	s := e.results[e.m.Subject.Digest]
	if s == nil || !s.changed() || e.n.Root {
		return nil
	}
	desc, err := ParseObject(o.Get("subject"))
	if err != nil {
		return on(SourceSide, err)
	}
	if err := setDescriptor(desc, s.Desc); err != nil {
		return err
	}
	return o.Set("subject", desc)
}

// layer brings one entry of the manifest up to date.
func (e *imageEditor) layer(i int, entry *Object, desc ocispec.Descriptor) error {
	out := e.run.outcome(e.n.source.Digest, e.m.Layers, i, FileSystem)
	if err := e.check(i, desc, out); err != nil {
		return on(SourceSide, fmt.Errorf("layer %d, %s: %w", i, desc.Digest, err))
	}
	switch {
	case out.How == HowSkipped:
		e.removed = append(e.removed, i)
		return nil
	case out.How == HowForeign:
		return nil
	case out.layer.Foreign == ForeignFetch:
		entry.Delete("urls")
		desc.MediaType = layerType(dockerFamily(desc.MediaType), LayerCompression(desc.MediaType))
	case out.Result.Digest == desc.Digest:
		return nil
	}
	result := out.Result
	result.MediaType = out.mediaTypeFrom(desc.MediaType)
	e.oci = e.oci || out.compression == Zstd
	if out.ResultDiffID != "" {
		e.diffIDs[i] = out.ResultDiffID
	}
	if err := trimAnnotations(entry, desc.Annotations); err != nil {
		return err
	}
	return setDescriptor(entry, result)
}

// check compares what the manifest says of a layer with what came.
func (e *imageEditor) check(i int, desc ocispec.Descriptor, out *outcome) error {
	switch want := e.diffIDs[i]; {
	case out == nil:
		return fmt.Errorf("it did not come")
	case out.unreadable != nil:
		return out.unreadable
	case out.Source.Size != desc.Size:
		return fmt.Errorf("%w: it has %d bytes, its descriptor says %d", ErrDigest, out.Source.Size, desc.Size)
	case out.SourceDiffID != "" && out.SourceDiffID != want && out.SourceDiffID.Algorithm() == want.Algorithm():
		return DigestError("diff ID", want, out.SourceDiffID)
	}
	return nil
}

// trimAnnotations removes what described the old bytes.
func trimAnnotations(entry *Object, notes map[string]string) error {
	was := len(notes)
	for k := range notes {
		if lyingAnnotation(k) {
			delete(notes, k)
		}
	}
	switch {
	case len(notes) == was:
		return nil
	case len(notes) == 0:
		entry.Delete("annotations")
		return nil
	}
	return entry.Set("annotations", notes)
}

// annotate lets the filters have their say about the manifest's annotations.
func (e *imageEditor) annotate(ctx context.Context, o *Object) error {
	if !e.image {
		return nil
	}
	was := map[string]string{}
	if raw := o.Get("annotations"); raw != nil {
		if err := json.Unmarshal(raw, &was); err != nil {
			return on(SourceSide, fmt.Errorf("annotations: %w", err))
		}
	}
	now := map[string]string{}
	maps.Copy(now, was)
	for _, f := range e.run.filters {
		f, ok := f.(Annotator)
		if !ok {
			continue
		}
		var err error
		if now, err = f.Annotations(ctx, e.n.source, now); err != nil {
			return on(FilterSide, err)
		}
	}
	switch {
	case maps.Equal(was, now):
		return nil
	case len(now) == 0:
		o.Delete("annotations")
		return nil
	}
	e.oci = true
	return o.Set("annotations", now)
}

// toOCI turns a Docker manifest into an OCI one that got a zstd layer, for which
// Docker has no media type that others know, or annotations.
func (e *imageEditor) toOCI(o *Object, layers []*Object) error {
	if !e.oci || e.n.source.MediaType != MediaTypeDockerManifest {
		return nil
	}
	e.n.Desc.MediaType = ocispec.MediaTypeImageManifest
	if err := o.Set("mediaType", e.n.Desc.MediaType); err != nil {
		return err
	}
	e.m.Config.MediaType = ociType(e.m.Config.MediaType)
	return typesToOCI(layers)
}

// typesToOCI gives descriptors OCI's media types in place of Docker's.
func typesToOCI(descriptors []*Object) error {
	for _, d := range descriptors {
		var mediaType string
		if err := json.Unmarshal(d.Get("mediaType"), &mediaType); err != nil {
			return err
		}
		if err := d.Set("mediaType", ociType(mediaType)); err != nil {
			return err
		}
	}
	return nil
}

// config brings diff IDs and history up to date and lets the filters have their
// say; then the manifest's config descriptor follows.
func (e *imageEditor) config(ctx context.Context, o *Object) error {
	config := e.n.Config
	if e.image {
		var err error
		if config, err = EditJSON(config, e.rootFS); err != nil {
			return fmt.Errorf("config: %w", err)
		}
		for _, f := range e.run.filters {
			f, ok := f.(ConfigFilter)
			if !ok {
				continue
			}
			if config, err = f.Config(ctx, e.n.source, config); err != nil {
				return on(FilterSide, err)
			}
		}
	}
	desc, err := ParseObject(o.Get("config"))
	if err != nil {
		return on(SourceSide, err)
	}
	now := e.m.Config
	if !bytes.Equal(config, e.n.Config) {
		e.n.Config = config
		now.Digest, now.Size = digest.FromBytes(config), int64(len(config))
	}
	e.n.configDesc = ocispec.Descriptor{MediaType: now.MediaType, Digest: now.Digest, Size: now.Size}
	if now.Digest == e.m.Config.Digest && !e.oci {
		return nil
	}
	if err := setDescriptor(desc, now); err != nil {
		return err
	}
	if !desc.changed {
		return nil
	}
	return o.Set("config", desc)
}

// rootFS sets the diff IDs; layers that were left out leave the history too.
func (e *imageEditor) rootFS(o *Object) error {
	if len(e.m.Layers) == 0 {
		return nil
	}
	rootfs, err := ParseObject(o.Get("rootfs"))
	if err != nil {
		return fmt.Errorf("rootfs: %w", err)
	}
	var was []digest.Digest
	if err := json.Unmarshal(rootfs.Get("diff_ids"), &was); err != nil {
		return fmt.Errorf("rootfs: %w", err)
	}
	if slices.Equal(was, e.diffIDs) {
		return nil
	}
	if err := rootfs.Set("diff_ids", e.diffIDs); err != nil {
		return err
	}
	if err := o.Set("rootfs", rootfs); err != nil {
		return err
	}
	return e.history(o)
}

// history drops the entries of layers that were left out.
func (e *imageEditor) history(o *Object) error {
	raw := o.Get("history")
	if len(e.removed) == 0 || raw == nil {
		return nil
	}
	entries, err := objects(raw)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	layer := -1
	kept := slices.DeleteFunc(slices.Clone(entries), func(h *Object) bool {
		if string(h.Get("empty_layer")) == "true" {
			return false
		}
		layer++
		return slices.Contains(e.removed, layer)
	})
	return o.setObjects("history", len(entries), kept)
}
