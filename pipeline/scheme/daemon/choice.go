package daemon

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// choose returns the manifests that go into the archive, and what their roots
// become in the daemon. A store that holds no indexes gets the image of an
// index that the daemon can run.
func (e *engine) choose(all []pipeline.Manifest, events pipeline.Events) ([]pipeline.Manifest, []*arrival, error) {
	byDigest := map[digest.Digest]pipeline.Manifest{}
	for _, m := range all {
		byDigest[m.Desc.Digest] = m
	}
	var arrivals []*arrival
	var chosen []pipeline.Manifest
	for _, m := range all {
		if !m.Root {
			continue
		}
		images, err := reach(m, byDigest)
		if err != nil {
			return nil, nil, err
		}
		a := &arrival{id: m.Desc.Digest, root: m.Desc.Digest, names: m.Names}
		if !e.indexes {
			one, err := e.one(m, images, events)
			if err != nil {
				return nil, nil, err
			}
			one.manifest.Root, one.manifest.Names = true, m.Names
			a.id, a.root, images = one.config, one.manifest.Desc.Digest, []carried{one}
			chosen = append(chosen, one.manifest)
		}
		for _, c := range images {
			if c.runs {
				a.images = append(a.images, c)
			} else {
				a.others = append(a.others, c)
			}
		}
		arrivals = append(arrivals, a)
	}
	if len(arrivals) == 0 {
		return nil, nil, fmt.Errorf("the source gave no image: %w", pipeline.ErrNotFound)
	}
	if e.indexes {
		chosen = all
	}
	return chosen, arrivals, nil
}

// reach returns the image manifests below a root, each once.
func reach(root pipeline.Manifest, byDigest map[digest.Digest]pipeline.Manifest) ([]carried, error) {
	var out []carried
	seen := map[digest.Digest]bool{}
	todo := []pipeline.Manifest{root}
	for len(todo) > 0 {
		m := todo[0]
		todo = todo[1:]
		if seen[m.Desc.Digest] {
			continue
		}
		seen[m.Desc.Digest] = true
		if !pipeline.IsIndex(m.Desc.MediaType) {
			c, err := read(m)
			if err != nil {
				return nil, err
			}
			out = append(out, c)
			continue
		}
		var index ocispec.Index
		if err := json.Unmarshal(m.Raw, &index); err != nil {
			return nil, fmt.Errorf("read index %s: %w", m.Desc.Digest, err)
		}
		for _, d := range index.Manifests {
			// A child that did not come was left out by --missing or --platform.
			if child, ok := byDigest[d.Digest]; ok {
				todo = append(todo, child)
			}
		}
	}
	return out, nil
}

// one chooses the image of a root for a store that holds one image under a
// name, and says so when that means a choice.
func (e *engine) one(root pipeline.Manifest, images []carried, events pipeline.Events) (carried, error) {
	images = slices.DeleteFunc(slices.Clone(images), func(c carried) bool { return !c.runs })
	if len(images) == 0 {
		return carried{}, fmt.Errorf("%s is an artifact, not an image: the daemon at %s cannot hold it", root.Desc.Digest, e.cli.DaemonHost())
	}
	if !pipeline.IsIndex(root.Desc.MediaType) {
		return images[0], nil
	}
	matcher := platforms.Only(e.platform)
	slices.SortStableFunc(images, func(a, b carried) int {
		switch {
		case matcher.Less(a.platform, b.platform):
			return -1
		case matcher.Less(b.platform, a.platform):
			return 1
		}
		return 0
	})
	best := images[0]
	if len(images) > 1 && !matcher.Match(best.platform) {
		return carried{}, pipeline.Usage("the daemon at %s runs %s, for which %s has no image; choose one of %s with --platform",
			e.cli.DaemonHost(), platforms.Format(e.platform), root.Desc.Digest, platformList(images))
	}
	events.Warn(fmt.Sprintf("the daemon at %s holds no indexes: of %s it gets the image for %s", e.cli.DaemonHost(), platformList(images), platforms.Format(best.platform)))
	return best, nil
}

func platformList(images []carried) string {
	var p pipeline.Platforms
	for _, c := range images {
		p.Want = append(p.Want, c.platform)
	}
	return p.String()
}
