package dir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/imagename"
	"github.com/occystrap/occystrap/pipeline/internal/staging"
)

// The files that list images in the plain layout.
const (
	manifestJSON = "manifest.json"
	catalogJSON  = "catalog.json"
)

// A savedImage is one entry of manifest.json (moby, image/spec/v1.2.md), with
// what the Python tool adds for unique_names.
type savedImage struct {
	Config    string
	ImageName string `json:",omitempty"`
	Layers    []string
	RepoTags  []string
}

// names are the full names that the entry itself tells. The Python tool left
// registry and namespace out of RepoTags, and kept them in ImageName.
func (s savedImage) names() []string {
	if s.ImageName == "" {
		return imagename.AllFull(s.RepoTags)
	}
	var out []string
	for _, t := range s.RepoTags {
		name, tag := imagename.Split(imagename.Full(t))
		if name == s.ImageName || strings.HasSuffix(s.ImageName, "/"+name) {
			t = s.ImageName + ":" + tag
		}
		out = imagename.Append(out, imagename.AllFull([]string{t})...)
	}
	return out
}

// is says whether the entry may be the image of a full name.
func (s savedImage) is(full string) bool {
	return slices.Contains(s.names(), full) || slices.Contains(s.RepoTags, lastPart(full))
}

// A listing is one manifest file of a directory.
type listing struct {
	file   string
	images []savedImage
}

// readListing reads a manifest file.
func (f *folder) readListing(file string) (l listing, err error) {
	raw, err := f.read(file)
	if err != nil {
		return l, err
	}
	l.file = file
	if err := json.Unmarshal(raw, &l.images); err != nil {
		return l, fmt.Errorf("%s: it is damaged: %w", file, err)
	}
	if limit := f.limits.WithDefaults().Manifests; len(l.images) > limit {
		return l, fmt.Errorf("%s lists %d images: %w of %d", file, len(l.images), pipeline.ErrLimit, limit)
	}
	return l, nil
}

// listings are the names of the manifest files, manifest.json first.
func (f *folder) listings() ([]string, error) {
	entries, err := staging.Entries(f.root)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if isManifestFile(e.Name()) && !e.IsDir() {
			files = append(files, e.Name())
		}
	}
	slices.SortFunc(files, func(a, b string) int { return strings.Compare(rank(a), rank(b)) })
	return files, nil
}

func rank(file string) string {
	if file == manifestJSON {
		return ""
	}
	return file
}

// A catalog says which manifest file has the image of a name: familiar name ▸
// tag ▸ file. The images are in the manifest files; a lost catalog loses no more
// than names, and can be made from them.
type catalog map[string]map[string]string

// errDamaged: a catalog is there and cannot be read.
var errDamaged = errors.New("it is damaged")

// readCatalog reads catalog.json; nil where there is none.
func (f *folder) readCatalog() (catalog, error) {
	raw, err := f.read(catalogJSON)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var c catalog
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", catalogJSON, errDamaged, err)
	}
	if c == nil { // "null"
		return nil, fmt.Errorf("%s: %w: it holds nothing", catalogJSON, errDamaged)
	}
	return c, nil
}

func (c catalog) add(full, file string) {
	name, tag := imagename.Split(full)
	if c[name] == nil {
		c[name] = map[string]string{}
	}
	c[name][tag] = file
}

// remove takes a full name out, however it is spelled there.
func (c catalog) remove(full string) {
	for name, tags := range c {
		for tag := range tags {
			if imagename.Full(name+":"+tag) == full {
				delete(tags, tag)
			}
		}
		if len(tags) == 0 {
			delete(c, name)
		}
	}
}

// namesIn are the full names that the catalog gives to each image of a listing.
// Stale are those that it gives to none: the Python tool overwrote manifest.json
// and left the names of the image before in the catalog.
func (c catalog) namesIn(l listing) (names [][]string, stale []string) {
	names = make([][]string, len(l.images))
	for name, tags := range c {
		for tag, file := range tags {
			full := imagename.Full(name + ":" + tag)
			if file != l.file || full == "" {
				continue
			}
			i := slices.IndexFunc(l.images, func(s savedImage) bool { return s.is(full) })
			if i < 0 {
				stale = append(stale, full)
				continue
			}
			names[i] = append(names[i], full)
		}
	}
	for _, n := range names {
		slices.Sort(n)
	}
	slices.Sort(stale)
	return names, stale
}
