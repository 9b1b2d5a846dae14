package check

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// judgeLayers checks the layers of an image, each by itself and then all
// together.
func (c *checker) judgeLayers(i *image) {
	ids := c.idsOf(i)
	layers := make([]*layer, len(ids))
	blobs := make([]digest.Digest, len(ids))
	cut := false
	for n, id := range ids {
		desc := i.manifest.Layers[n]
		blobs[n] = desc.Digest
		l := c.layers[id]
		if l == nil || id == (pipeline.LayerID{}) {
			continue // kept elsewhere, or no file system
		}
		i.judgeLayer(c.tell, n, desc, l)
		if l.err == nil {
			layers[n] = l
		}
		l.tellAll(c.tell, n, desc.Digest)
		cut = cut || l.roll.full
	}
	if cut {
		c.tell.bad("limits", "it has too many files to remember all: links, conflicts, duplicates and waste are those of the first ones of each layer")
	}
	i.Waste = newTree(c.tell, layers, blobs).judge()
	c.tell.endFiles()
	c.judgeWaste(i.Waste)
}

// idsOf are the layers of an image in the order of its manifest, as Look knows
// them; zero for those that are no file system.
func (c *checker) idsOf(i *image) []pipeline.LayerID {
	ids := make([]pipeline.LayerID, len(i.manifest.Layers))
	for _, known := range c.images {
		if known.Manifest.Digest != i.Manifest.Digest {
			continue
		}
		n := 0
		for _, l := range known.Layers {
			for n < len(ids) && i.manifest.Layers[n].Digest != l.Blob.Digest {
				n++
			}
			if n < len(ids) && !l.Unread() {
				ids[n] = l.ID
			}
			n++
		}
		return ids
	}
	return ids
}

// judgeLayer checks how a layer is stored.
func (i *image) judgeLayer(t *teller, n int, desc ocispec.Descriptor, l *layer) {
	say := func(id, format string, args ...any) {
		t.add(Result{Severity: severityOf[id], Check: id, Layer: desc.Digest, Message: layerName(n, desc.Digest) + ": " + fmt.Sprintf(format, args...)})
	}
	want := ""
	if i.config != nil && n < len(i.config.RootFS.DiffIDs) {
		want = i.config.RootFS.DiffIDs[n]
	}
	switch {
	case l.err == nil:
		t.add(Result{Severity: Info, Check: "tar-format", Layer: desc.Digest, Message: layerName(n, desc.Digest) + ": it is a tar that can be read"})
		i.judgeDiffID(t, n, desc, want, l.diffID)
	case errors.Is(l.err, pipeline.ErrDigest) && desc.Digest.String() == want:
		say("diff-id", "%s", unread(desc, l.err)) // the layer is plain, both are one
	case errors.Is(l.err, pipeline.ErrDigest):
		say("layer-digest", "%s", unread(desc, l.err))
	case errors.Is(l.err, tarstream.ErrFormat), errors.Is(l.err, io.ErrUnexpectedEOF), errors.Is(l.err, tarstream.ErrTooManyEntries):
		say("tar-format", "%s", unread(desc, l.err))
	default:
		say("layer-read", "%s", unread(desc, l.err))
	}
	if s := l.stored; s != nil {
		if claim := pipeline.LayerCompression(desc.MediaType); claim != "" && claim != s.Compression {
			say("layer-media-type", "its media type %s says %s, its bytes are %s", quote(desc.MediaType), claim, s.Compression)
		}
		if s.Members > 1 {
			say("multi-member", "it is a gzip stream of %d members; tools that read only the first lose the rest", s.Members)
		}
	}
}

// unread is why a layer could not be read, without what the result says already.
func unread(desc ocispec.Descriptor, err error) string {
	text := pipeline.OneLine(err.Error())
	for _, known := range []string{"layer " + short(desc.Digest) + ": ", "source: "} {
		text = strings.TrimPrefix(text, known)
	}
	return text
}

func (i *image) judgeDiffID(t *teller, n int, desc ocispec.Descriptor, want string, got digest.Digest) {
	if !strings.HasPrefix(want, digest.SHA256.String()+":") { // unknown, or told already
		return
	}
	r := Result{Severity: Info, Check: "diff-id", Layer: desc.Digest, Message: layerName(n, desc.Digest) + ": its diff ID is " + got.String()}
	if want != got.String() {
		r.Severity = Error
		r.Message += ", the config says " + quote(want)
	}
	t.add(r)
}

// judgeWaste tells what is wasted, and whether that is too much.
func (c *checker) judgeWaste(w *Waste) {
	t := c.tell
	if w.Wasted > 0 {
		t.bad("waste", "later layers replace or delete %s with %s, %.1f %% of all; efficiency %.1f %%",
			count(w.Count, "file"), count(int(w.Wasted), "byte"), w.Percent(), 100*w.Efficiency)
	}
	switch m := c.opts.MaxWaste; {
	case !m.Set:
	case m.ByParts:
		t.verdict(w.Percent() <= m.Percent, "max-waste", "%.1f %% are wasted; the limit is %g %%", w.Percent(), m.Percent)
	default:
		t.verdict(w.Wasted <= m.Bytes, "max-waste", "%s are wasted; the limit is %d", count(int(w.Wasted), "byte"), m.Bytes)
	}
}
