package cliplugin

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
)

// searchText prints matches for people, in the lines of the original: one for
// each layer, one for each match, a blank one, and a last one that counts.
type searchText struct {
	w     io.Writer
	image int // the last one named; counted from 1
}

var _ filter.SearchResults = (*searchText)(nil)

func (s *searchText) Layer(l filter.SearchedLayer) error {
	var b bytes.Buffer
	if l.Image.Count > 1 && s.image != l.Image.Index+1 {
		s.image = l.Image.Index + 1
		fmt.Fprintf(&b, "Image: %s\n\n", describeImage(l.Image))
	}
	fmt.Fprintf(&b, "Layer: %s\n", layerName(l.Name()))
	for _, m := range l.Matches {
		fmt.Fprintf(&b, "  %s\n", matchLine(m))
		for _, line := range m.Lines {
			fmt.Fprintf(&b, "    %d: %s\n", line.Number, lineText(line))
		}
		if m.More {
			fmt.Fprintln(&b, "    more lines match")
		}
		if m.Binary {
			fmt.Fprintln(&b, "    binary file matches")
		}
	}
	for _, h := range l.Hides {
		fmt.Fprintf(&b, "  - %s: %s here, found in layer %s\n", pipeline.QuoteName(h.Path), h.How, shortDigest(h.Of.Name()))
	}
	b.WriteByte('\n')
	_, err := s.w.Write(b.Bytes())
	return err
}

func (s *searchText) End(sum filter.SearchSummary) error {
	var b bytes.Buffer
	if sum.Hidden > 0 {
		fmt.Fprintf(&b, "%s deleted or replaced by a later layer.\n", counted(sum.Hidden, "match is", "matches are"))
	}
	if sum.Matches == 0 {
		fmt.Fprintln(&b, "No matches found.")
	} else {
		fmt.Fprintf(&b, "Found %s in %s.\n", counted(sum.Matches, "match", "matches"), counted(sum.Layers, "layer", "layers"))
	}
	_, err := s.w.Write(b.Bytes())
	return err
}

func matchLine(m filter.SearchMatch) string {
	path := pipeline.QuoteName(m.Path)
	switch m.Type {
	case "file":
		return fmt.Sprintf("%s (file, %d bytes)", path, m.Size)
	case "symlink", "hardlink":
		return fmt.Sprintf("%s -> %s (%s)", path, pipeline.QuoteName(m.Target), m.Type)
	}
	return fmt.Sprintf("%s (%s)", path, m.Type)
}

func lineText(l filter.SearchLine) string {
	s := strings.Map(func(r rune) rune {
		if r != '\t' && !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, string(l.Text))
	if l.Cut {
		s += " …"
	}
	return s
}

// searchScript prints IMAGE:TAG:LAYER:PATH for each match, and nothing else.
type searchScript struct{ w io.Writer }

var _ filter.SearchResults = searchScript{}

func (s searchScript) Layer(l filter.SearchedLayer) error {
	var b bytes.Buffer
	name := imageName(l.Image)
	if name == "" {
		name = "unknown:unknown"
	}
	for _, m := range l.Matches {
		fmt.Fprintf(&b, "%s:%s:%s\n", name, layerName(l.Name()), pipeline.QuoteName(m.Path))
	}
	_, err := s.w.Write(b.Bytes())
	return err
}

func (searchScript) End(filter.SearchSummary) error { return nil }

// layerName is the digest of a layer's bytes without its algorithm, as ever.
func layerName(d digest.Digest) string {
	if d.Validate() != nil {
		return pipeline.OneLine(d.String())
	}
	return d.Encoded()
}

// imageName is an image's first name as people write it; "" for none.
func imageName(i *filter.SearchedImage) string {
	if len(i.Names) == 0 {
		return ""
	}
	return pipeline.QuoteName(familiar(i.Names[0]))
}

// familiar is a full name as people write it.
func familiar(full string) string {
	name := strings.TrimPrefix(full, "docker.io/")
	if rest, ok := strings.CutPrefix(name, "library/"); ok && !strings.Contains(rest, "/") && name != full {
		return rest
	}
	return name
}

// describeImage names one of several images.
func describeImage(i *filter.SearchedImage) string { return describeNamed(i.Names, i.Manifest) }

func describeNamed(names []string, m ocispec.Descriptor) string {
	name := "unnamed, " + m.Digest.String()
	if len(names) > 0 {
		name = pipeline.QuoteName(familiar(names[0]))
	}
	if p := m.Platform; p != nil {
		name += " (" + pipeline.OneLine(platforms.FormatAll(*p)) + ")"
	}
	return name
}
