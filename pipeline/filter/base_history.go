package filter

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// annotatedRefs are the references that an image's annotations give for its base,
// the best first: the digest, then the name, whose tag may have moved on. They
// name images in registries and nothing else, whatever they look like.
func annotatedRefs(notes map[string]string) (refs []string) {
	name := notes[ocispec.AnnotationBaseImageName]
	if name == "" || strings.Contains(name, "://") {
		return nil
	}
	bare, _, _ := strings.Cut(name, "@")
	if d := digest.Digest(notes[ocispec.AnnotationBaseImageDigest]); d.Validate() == nil {
		refs = append(refs, bare+"@"+d.String())
	}
	return append(refs, name)
}

// sharedBase is what an image has in common with images that are not its base
// but were made from it, or from what it was made from: the lowest layers with
// the same diff IDs and, where both have a history, the same history.
func sharedBase(image baseImage, others []baseImage) (best foundBase, ok bool) {
	for _, o := range others {
		n := 0
		for n < min(len(image.layers()), len(o.layers())) && image.layers()[n] == o.layers()[n] {
			n++
		}
		if len(image.config.History) > 0 && len(o.config.History) > 0 {
			n = min(n, countLayers(image.config.History[:sameEntries(image.config.History, o.config.History)]))
		}
		if n > best.Layers {
			best, ok = newFoundBase(image, n, o.config.History, "what it shares with "+o.name), true
		}
	}
	return best, ok
}

// baseByHistory is the base as the history of a Dockerfile build shows it: an
// image that is made to be run ends with its command, and layers upon it are
// those of the next image. The last such place counts.
func baseByHistory(image baseImage) (foundBase, bool) {
	history := image.config.History
	if countLayers(history) != len(image.layers()) {
		return foundBase{}, false
	}
	at, layersAbove := -1, false
	for i := len(history) - 1; i >= 0 && at < 0; i-- {
		layersAbove = layersAbove || !history[i].EmptyLayer
		if layersAbove && history[i].EmptyLayer && setsCommand.MatchString(history[i].CreatedBy) {
			at = i
		}
	}
	if at < 0 {
		return foundBase{}, false
	}
	f := foundBase{history: at + 1, entries: len(history)}
	f.Layers, f.Name = countLayers(history[:at+1]), fmt.Sprintf("the first %d entries of its history", at+1)
	return f, f.Layers > 0
}

// setsCommand matches the history of the instructions CMD and ENTRYPOINT, as the
// classic builder, BuildKit and Buildah write it.
var setsCommand = regexp.MustCompile(`^(?:(?:/bin/sh -c|cmd /S /C|powershell -Command) *#\(nop\) *)?(?:CMD|ENTRYPOINT)\b`)

// newFoundBase is the base of the lowest n layers, and of the history that made
// them: up to the last of them, and further while both histories agree.
func newFoundBase(image baseImage, n int, history []ocispec.History, name string) foundBase {
	at, layers := 0, 0
	for at < len(image.config.History) && layers < n {
		if !image.config.History[at].EmptyLayer {
			layers++
		}
		at++
	}
	for same := sameEntries(image.config.History, history); at < same && image.config.History[at].EmptyLayer; {
		at++
	}
	return foundBase{
		Base:    pipeline.Base{Layers: n, Name: name},
		history: at, entries: len(image.config.History),
	}
}

// sameEntries is how many of the first entries of two histories are equal.
func sameEntries(a, b []ocispec.History) (n int) {
	for n < min(len(a), len(b)) && reflect.DeepEqual(a[n], b[n]) {
		n++
	}
	return n
}

// countLayers is the number of entries of a history that made a layer.
func countLayers(history []ocispec.History) (n int) {
	for _, h := range history {
		if !h.EmptyLayer {
			n++
		}
	}
	return n
}
