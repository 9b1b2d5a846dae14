package cliplugin

import (
	"bytes"
	"encoding/json"
	"io"
	"unicode/utf8"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/filter"
)

// searchJSON prints one object on a line for each match, for each match that a
// later layer hides, and for the summary, which comes last.
type searchJSON struct{ w io.Writer }

var _ filter.SearchResults = (*searchJSON)(nil)

// jsonPlace says where something is.
type jsonPlace struct {
	Layer digest.Digest `json:"layer"` // as the source stores it
	// DiffID is the digest of the plain tar as it is where the filter stands.
	DiffID digest.Digest `json:"diffID,omitempty"`
	// Index is the layer's place in the image, 0 for the lowest.
	Index int `json:"layerIndex"`
}

// jsonImage says which image is meant; the names may be missing.
type jsonImage struct {
	Image    string        `json:"image,omitempty"`
	Manifest digest.Digest `json:"manifest"`
	Platform string        `json:"platform,omitempty"`
}

// jsonEntry is an entry of a layer.
type jsonEntry struct {
	Path string `json:"path"`
	// PathBytes is the path where it is no UTF-8.
	PathBytes []byte     `json:"pathBytes,omitempty"`
	Type      string     `json:"type"`
	Size      int64      `json:"size"`
	Target    string     `json:"target,omitempty"`
	Whiteout  bool       `json:"whiteout,omitempty"`
	Lines     []jsonLine `json:"lines,omitempty"`
	More      bool       `json:"more,omitempty"`
	Binary    bool       `json:"binary,omitempty"`
}

// jsonLine is a line that matches in a file.
type jsonLine struct {
	Line   int64  `json:"line"`
	Offset int64  `json:"offset"`
	Text   string `json:"text"`
	Cut    bool   `json:"cut,omitempty"`
}

type jsonMatch struct {
	Event string `json:"event"`
	jsonImage
	jsonPlace
	jsonEntry
}

// jsonHidden is a match of FoundIn that the layer deletes or replaces.
type jsonHidden struct {
	Event string `json:"event"`
	How   string `json:"how"`
	jsonImage
	jsonPlace
	Path      string    `json:"path"`
	PathBytes []byte    `json:"pathBytes,omitempty"`
	FoundIn   jsonPlace `json:"foundIn"`
}

type jsonSummary struct {
	Event      string       `json:"event"`
	Matches    int          `json:"matches"`
	Layers     int          `json:"layers"`
	Hidden     int          `json:"hidden"`
	Images     int          `json:"images"`
	Elsewhere  int          `json:"elsewhere,omitempty"`
	Unreadable []jsonUnread `json:"unreadable,omitempty"`
}

type jsonUnread struct {
	jsonImage
	jsonPlace
	Error string `json:"error"`
}

func (s *searchJSON) Layer(l filter.SearchedLayer) error {
	image, place := imageOf(l.Image), placeOf(l.SearchPlace)
	var lines []any
	for _, m := range l.Matches {
		lines = append(lines, jsonMatch{"match", image, place, entryOf(m)})
	}
	for _, h := range l.Hides {
		lines = append(lines, jsonHidden{"hidden", h.How, image, place, h.Path, rawPath(h.Path), placeOf(h.Of)})
	}
	return s.print(lines...)
}

func (s *searchJSON) End(sum filter.SearchSummary) error {
	out := jsonSummary{
		Event: "summary", Matches: sum.Matches, Layers: sum.Layers, Hidden: sum.Hidden,
		Images: sum.Images, Elsewhere: sum.Elsewhere,
	}
	for _, u := range sum.Unreadable {
		out.Unreadable = append(out.Unreadable, jsonUnread{imageOf(u.Image), placeOf(u.SearchPlace), u.Err.Error()})
	}
	return s.print(out)
}

func (s *searchJSON) print(lines ...any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, l := range lines {
		if err := enc.Encode(l); err != nil {
			return err
		}
	}
	_, err := s.w.Write(tame(b.Bytes()))
	return err
}

func imageOf(i *filter.SearchedImage) jsonImage {
	out := jsonImage{Image: imageName(i), Manifest: i.Manifest.Digest}
	if i.Manifest.Platform != nil {
		out.Platform = platforms.FormatAll(*i.Manifest.Platform)
	}
	return out
}

func placeOf(p filter.SearchPlace) jsonPlace {
	return jsonPlace{Layer: p.Blob.Digest, DiffID: p.DiffID, Index: p.Index}
}

func entryOf(m filter.SearchMatch) jsonEntry {
	e := jsonEntry{
		Path: m.Path, PathBytes: rawPath(m.Path), Type: m.Type, Size: m.Size, Target: m.Target,
		Whiteout: m.Whiteout, More: m.More, Binary: m.Binary,
	}
	for _, l := range m.Lines {
		e.Lines = append(e.Lines, jsonLine{l.Number, l.Offset, string(l.Text), l.Cut})
	}
	return e
}

// rawPath is a path that JSON cannot hold; nil for others.
func rawPath(s string) []byte {
	if utf8.ValidString(s) {
		return nil
	}
	return []byte(s)
}
