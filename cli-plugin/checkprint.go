package cliplugin

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/check"
)

// writeCheck prints results for people: errors, warnings, the rest, and a line
// that counts.
func writeCheck(w io.Writer, r *check.Report) error {
	var b bytes.Buffer
	for _, section := range []struct {
		title    string
		severity check.Severity
	}{{"Errors", check.Error}, {"Warnings", check.Warning}, {"Info", check.Info}} {
		if r.Count(section.severity) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s:\n", section.title)
		for _, res := range r.Results {
			if res.Severity == section.severity {
				fmt.Fprintf(&b, "  [%s] %s%s\n", res.Check, checkedImage(r, res.Image), res.Message)
			}
		}
		b.WriteByte('\n')
	}
	mode := "full"
	if r.Fast {
		mode = "fast (metadata only)"
	}
	fmt.Fprintf(&b, "Check complete (%s): %d error(s), %d warning(s)\n", mode, r.Count(check.Error), r.Count(check.Warning))
	_, err := w.Write(b.Bytes())
	return err
}

// checkedImage says which of several images a result is about.
func checkedImage(r *check.Report, i *check.Image) string {
	if i == nil || len(r.Images) < 2 {
		return ""
	}
	return describeNamed(i.Names, i.Manifest) + ": "
}

// jsonCheck is a report as programs get it: the original's fields, and more.
type jsonCheck struct {
	Image    string          `json:"image"`
	Tag      string          `json:"tag"`
	Mode     string          `json:"mode"`
	Errors   int             `json:"errors"`
	Warnings int             `json:"warnings"`
	Results  []jsonResult    `json:"results"`
	Images   []jsonCheckedAs `json:"images"`
}

type jsonResult struct {
	Severity  check.Severity `json:"severity"`
	Check     string         `json:"check"`
	Message   string         `json:"message"`
	Manifest  digest.Digest  `json:"manifest,omitempty"`
	Layer     digest.Digest  `json:"layer,omitempty"`
	Path      string         `json:"path,omitempty"`
	PathBytes []byte         `json:"pathBytes,omitempty"`
}

type jsonCheckedAs struct {
	jsonImage
	Size  int64      `json:"size"`
	Waste *jsonWaste `json:"waste,omitempty"`
}

func writeCheckJSON(w io.Writer, r *check.Report) error {
	out := jsonCheck{
		Mode: "full", Errors: r.Count(check.Error), Warnings: r.Count(check.Warning),
		Results: []jsonResult{}, Images: []jsonCheckedAs{},
	}
	if r.Fast {
		out.Mode = "fast"
	}
	out.Image, out.Tag = "unknown", "unknown"
	for _, i := range r.Images {
		if out.Image == "unknown" && len(i.Names) > 0 {
			out.Image, out.Tag = nameAndTag(i.Names[0])
		}
		out.Images = append(out.Images, jsonCheckedAs{jsonNamed(i.Names, i.Manifest), i.Size, newJSONWaste(i.Waste)})
	}
	for _, res := range r.Results {
		j := jsonResult{
			Severity: res.Severity, Check: res.Check, Message: res.Message,
			Layer: res.Layer, Path: res.Path, PathBytes: rawPath(res.Path),
		}
		if res.Image != nil {
			j.Manifest = res.Image.Manifest.Digest
		}
		out.Results = append(out.Results, j)
	}
	return writeJSON(w, out)
}

// nameAndTag takes a full name apart, as people write it.
func nameAndTag(full string) (name, tag string) {
	name = familiar(full)
	if at := strings.IndexByte(name, '@'); at >= 0 {
		return name[:at], name[at+1:]
	}
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		return name[:colon], name[colon+1:]
	}
	return name, "latest"
}

func jsonNamed(names []string, m ocispec.Descriptor) jsonImage {
	out := jsonImage{Manifest: m.Digest}
	if len(names) > 0 {
		out.Image = familiar(names[0])
	}
	if m.Platform != nil {
		out.Platform = platforms.FormatAll(*m.Platform)
	}
	return out
}

// jsonWaste is what an image wastes.
type jsonWaste struct {
	Total      int64        `json:"bytes"`
	Wasted     int64        `json:"wasted"`
	Files      int          `json:"files"`
	Efficiency float64      `json:"efficiency"`
	Largest    []jsonWasted `json:"largest"`
}

type jsonWasted struct {
	Path      string `json:"path"`
	PathBytes []byte `json:"pathBytes,omitempty"`
	Size      int64  `json:"size"`
	Layer     int    `json:"layerIndex"`
	How       string `json:"how"`
	By        int    `json:"by"` // the index of the layer that hides it
}

func newJSONWaste(w *check.Waste) *jsonWaste {
	if w == nil {
		return nil
	}
	out := &jsonWaste{Total: w.Total, Wasted: w.Wasted, Files: w.Count, Efficiency: w.Efficiency, Largest: []jsonWasted{}}
	for _, f := range w.Largest {
		out.Largest = append(out.Largest, jsonWasted{f.Path, rawPath(f.Path), f.Size, f.Layer, f.How, f.By})
	}
	return out
}
