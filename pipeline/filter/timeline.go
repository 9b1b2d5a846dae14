package filter

import (
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// A timeline puts what was found in layers into the order of the images, and
// tells it as far as it is known.
type timeline struct {
	to      SearchResults
	visible bool

	planned bool
	images  []pipeline.ImageLayers
	done    map[pipeline.LayerID]*finding // read, and not yet told everywhere
	uses    map[pipeline.LayerID]int      // how often a layer has yet to be told

	image   *SearchedImage // being told; nil between images
	at      int            // of images
	layer   int            // of the image's layers
	seen    []*seenMatch
	summary SearchSummary
}

// A seenMatch is a match that no layer has hidden so far.
type seenMatch struct {
	match *SearchMatch
	in    SearchPlace
	place string
}

// plan learns the images.
func (t *timeline) plan(images []pipeline.ImageLayers) error {
	t.planned, t.images, t.summary.Images = true, images, len(images)
	for _, image := range images {
		for _, l := range image.Layers {
			t.uses[l.ID]++
		}
	}
	for id := range t.done {
		if t.uses[id] == 0 {
			delete(t.done, id) // no image has it
		}
	}
	return t.advance()
}

// add learns what was found in a layer.
func (t *timeline) add(id pipeline.LayerID, f *finding) error {
	if t.planned && t.uses[id] == 0 {
		return nil
	}
	t.done[id] = f
	return t.advance()
}

// end tells the summary.
func (t *timeline) end() error { return t.to.End(t.summary) }

// advance tells what can be told.
func (t *timeline) advance() error {
	for ; t.at < len(t.images); t.at++ {
		image := t.images[t.at]
		if t.image == nil {
			t.image = &SearchedImage{Names: image.Names, Manifest: image.Manifest, Index: t.at, Count: len(t.images)}
		}
		for ; t.layer < len(image.Layers); t.layer++ {
			l := image.Layers[t.layer]
			if l.Unread() {
				t.summary.Elsewhere++
				continue
			}
			f := t.done[l.ID]
			if f == nil {
				return nil
			}
			if t.uses[l.ID]--; t.uses[l.ID] == 0 {
				delete(t.done, l.ID)
			}
			if err := t.tell(l.Blob, f); err != nil {
				return err
			}
		}
		if err := t.endImage(); err != nil {
			return err
		}
	}
	return nil
}

// tell tells of the next layer.
func (t *timeline) tell(blob ocispec.Descriptor, f *finding) error {
	in := SearchPlace{Index: t.layer, Blob: blob, DiffID: f.diffID, Changed: f.changed}
	if f.err != nil {
		t.summary.Unreadable = append(t.summary.Unreadable, SearchUnread{Image: t.image, SearchPlace: in, Err: f.err})
		return nil //nolint:nilerr // it is told with the others, and the search goes on
	}
	out := SearchedLayer{Image: t.image, SearchPlace: in, Matches: f.matches, Hides: t.hide(&f.trace)}
	for i := range f.matches {
		if m := &f.matches[i]; !m.Whiteout {
			t.seen = append(t.seen, &seenMatch{match: m, in: in, place: place(m.Path)})
		}
	}
	if t.visible {
		return nil
	}
	return t.give(out)
}

// hide takes what the layer hides off what is seen.
func (t *timeline) hide(by *trace) (hidden []SearchHidden) {
	t.seen = slices.DeleteFunc(t.seen, func(s *seenMatch) bool {
		how := by.hides(s.place, s.match.Type == "directory")
		if how != "" {
			hidden = append(hidden, SearchHidden{SearchMatch: *s.match, Of: s.in, How: how})
		}
		return how != ""
	})
	return hidden
}

// give hands over a layer that there is something to tell of.
func (t *timeline) give(l SearchedLayer) error {
	if len(l.Matches) == 0 && len(l.Hides) == 0 {
		return nil
	}
	if len(l.Matches) > 0 {
		t.summary.Layers++
	}
	t.summary.Matches += len(l.Matches)
	t.summary.Hidden += len(l.Hides)
	return t.to.Layer(l)
}

// endImage tells, with Visible, what is left of an image.
func (t *timeline) endImage() error {
	seen := t.seen
	image := t.image
	t.seen, t.image, t.layer = nil, nil, 0
	if !t.visible {
		return nil
	}
	for len(seen) > 0 {
		l := SearchedLayer{Image: image, SearchPlace: seen[0].in}
		for len(seen) > 0 && seen[0].in.Index == l.Index {
			l.Matches = append(l.Matches, *seen[0].match)
			seen = seen[1:]
		}
		if err := t.give(l); err != nil {
			return err
		}
	}
	return nil
}
