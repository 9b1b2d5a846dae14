package tarball

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/imagename"
	"github.com/occystrap/occystrap/pipeline/internal/ocilayout"
)

// indexRoots are the images that index.json lists and the archive holds. With
// nothing of the sort it is nil where there is another list, else an error.
func (a *archive) indexRoots(ctx context.Context, q pipeline.Query, otherList bool) ([]root, error) {
	m, err := a.lookup(indexMember)
	if err != nil {
		return nil, err
	}
	raw, err := a.read(ctx, m)
	if err != nil {
		return nil, err
	}
	if _, err := pipeline.ParseObject(raw); err != nil {
		return nil, fmt.Errorf("%s: %w", indexMember, err)
	}
	var idx ocispec.Index
	if err := json.Unmarshal(raw, &idx); err != nil {
		return nil, fmt.Errorf("%s: %w", indexMember, err)
	}
	return a.rootsOf(indexMember, idx, q, otherList)
}

// rootsOf are the images that an index lists and the archive holds.
func (a *archive) rootsOf(member string, idx ocispec.Index, q pipeline.Query, otherList bool) ([]root, error) {
	if err := a.checkCount(len(idx.Manifests)); err != nil {
		return nil, err
	}
	var roots []root
	var missing []string
	for _, desc := range idx.Manifests {
		if err := desc.Digest.Validate(); err != nil {
			return nil, fmt.Errorf("%s: digest %q: %w", member, desc.Digest, err)
		}
		if a.blobs[desc.Digest] == nil {
			missing = append(missing, desc.Digest.String())
			continue
		}
		names, tag := namesOf(desc, q.Events)
		if i := slices.IndexFunc(roots, func(r root) bool { return r.Desc.Digest == desc.Digest }); i >= 0 {
			roots[i].Names, roots[i].Tags = imagename.Append(roots[i].Names, names...), imagename.Append(roots[i].Tags, tag)
			continue
		}
		roots = append(roots, root{Root: pipeline.Root{Desc: desc, Names: names, Tags: imagename.Append(nil, tag)}})
	}
	if len(missing) == 0 || len(roots) == 0 && otherList {
		return roots, nil
	}
	if len(roots) == 0 || q.Missing == pipeline.MissingFail {
		return nil, fmt.Errorf("it lists manifest %s but does not hold it: %w; save the image again", missing[0], pipeline.ErrNotFound)
	}
	q.Events.Warn(fmt.Sprintf("%s lists %s but does not hold it; left out", a.what, strings.Join(missing, ", ")))
	return roots, nil
}

// namesOf are the names of an entry of index.json, or the tag of one without.
func namesOf(desc ocispec.Descriptor, events pipeline.Events) (names []string, tag string) {
	name, tag := ocilayout.Names(desc)
	if name == "" {
		return nil, tag
	}
	return validNames([]string{name}, events), ""
}

// validNames spells names in full and leaves out, aloud, what is none.
func validNames(in []string, events pipeline.Events) []string {
	return imagename.Valid(in, func(name string) {
		events.Warn(fmt.Sprintf("the archive calls an image %q, which is not a valid name; left out", name))
	})
}

// addNames gives the images that index.json leaves without a name those of
// manifest.json. The config tells which is which.
func (a *archive) addNames(ctx context.Context, roots []root, saved []savedImage, q pipeline.Query) error {
	for i, r := range roots {
		if len(r.Names) > 0 || len(saved) == 0 {
			continue
		}
		configs, err := a.configs(ctx, r)
		if err != nil {
			return err
		}
		for _, s := range saved {
			if d := configDigest(s.Config); d != "" && slices.Contains(configs, d) {
				roots[i].Names = imagename.Append(roots[i].Names, validNames(s.RepoTags, q.Events)...)
			}
		}
	}
	return nil
}

// configs are the configs of an image, or of the images of an index that the
// archive holds.
func (a *archive) configs(ctx context.Context, r root) ([]digest.Digest, error) {
	if r.config != "" {
		return []digest.Digest{r.config}, nil
	}
	var out []digest.Digest
	todo := []ocispec.Descriptor{r.Desc}
	for fetched := 0; len(todo) > 0; fetched++ {
		if err := a.checkCount(fetched); err != nil {
			return nil, err
		}
		raw, err := content{a}.Fetch(ctx, todo[0])
		if err != nil {
			return nil, err
		}
		todo = todo[1:]
		var m struct {
			Config    ocispec.Descriptor   `json:"config"`
			Manifests []ocispec.Descriptor `json:"manifests"`
		}
		if err := json.Unmarshal(raw, &m); err != nil {
			return nil, fmt.Errorf("manifest: %w", err)
		}
		out = append(out, m.Config.Digest)
		for _, c := range m.Manifests {
			if a.blobs[c.Digest] != nil {
				todo = append(todo, c)
			}
		}
	}
	return out, nil
}
