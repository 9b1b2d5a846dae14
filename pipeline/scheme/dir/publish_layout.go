package dir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/imagename"
	"github.com/occystrap/occystrap/pipeline/internal/ocilayout"
)

// publishLayout writes what an OCI layout has besides layers, index.json last.
// What other runs have put there stays.
func (s *sink) publishLayout(ctx context.Context) error {
	if err := s.placeLayers(); err != nil {
		return err
	}
	for _, m := range s.manifests {
		if err := s.writeManifest(m); err != nil {
			return err
		}
	}
	unlock, err := s.session.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if size, err := s.session.size(layoutFile); err != nil {
		return err
	} else if size < 0 {
		if err := s.session.Write(layoutFile, []byte(`{"imageLayoutVersion":"`+ocispec.ImageLayoutVersion+`"}`)); err != nil {
			return err
		}
	}
	o, entries, err := s.readIndex()
	if err != nil {
		return err
	}
	referrers, err := pipeline.ReferrerEntries(s.manifests)
	if err != nil {
		return err
	}
	if err := o.Set("manifests", s.merge(entries, referrers)); err != nil {
		return err
	}
	return s.session.Write(indexJSON, o.Bytes())
}

// writeManifest writes a manifest and its config as blobs.
func (s *sink) writeManifest(m pipeline.Manifest) error {
	if m.Config != nil {
		var fields struct {
			Config ocispec.Descriptor `json:"config"`
		}
		if err := json.Unmarshal(m.Raw, &fields); err != nil {
			return fmt.Errorf("manifest %s: %w", m.Desc.Digest, err)
		}
		if err := s.writeBlob(fields.Config.Digest, m.Config); err != nil {
			return err
		}
	}
	return s.writeBlob(m.Desc.Digest, m.Raw)
}

func (s *sink) writeBlob(d digest.Digest, raw []byte) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", d, err)
	}
	return s.session.Write(ocilayout.Blob(d), raw)
}

// emptyIndex is what a new layout's index starts from.
const emptyIndex = `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[]}`

// readIndex reads the index that is there. One that cannot be read is set aside
// and told of: its blobs stay, but which of them were images only it knew.
func (s *sink) readIndex() (*pipeline.Object, []json.RawMessage, error) {
	raw, err := s.session.read(indexJSON)
	if errors.Is(err, fs.ErrNotExist) {
		raw, err = []byte(emptyIndex), nil
	}
	if err != nil {
		return nil, nil, err
	}
	var entries []json.RawMessage
	o, err := pipeline.ParseObject(raw)
	if err == nil && o.Get("manifests") != nil {
		err = json.Unmarshal(o.Get("manifests"), &entries)
	}
	if err == nil {
		return o, entries, nil
	}
	if err := s.setAside(indexJSON, err, "a new one lists the images of this run only"); err != nil {
		return nil, nil, err
	}
	o, err = pipeline.ParseObject([]byte(emptyIndex))
	return o, nil, err
}

// merge puts the roots of this run, and referrers, into an index, in place of
// what had their names; other entries keep their bytes.
func (s *sink) merge(entries []json.RawMessage, referrers []ocispec.Descriptor) []json.RawMessage {
	out := []json.RawMessage{}
	tags := map[string]bool{}
	for _, e := range entries {
		var desc ocispec.Descriptor
		if json.Unmarshal(e, &desc) == nil && (s.replaces(desc) || replacedBy(desc, referrers)) {
			continue
		}
		tags[desc.Annotations[ocispec.AnnotationRefName]] = true
		out = append(out, e)
	}
	var fresh []ocispec.Descriptor
	for _, m := range s.manifests {
		if m.Root {
			fresh = append(fresh, indexEntries(m.Desc, imagename.AllFull(m.Names), tags)...)
		}
	}
	for _, d := range append(fresh, referrers...) {
		raw, err := json.Marshal(d)
		if err != nil { // a descriptor always marshals
			panic(err)
		}
		out = append(out, raw)
	}
	return out
}

// replacedBy says whether an entry goes because a referrer of this run has its
// tag, or is the same and neither has one.
func replacedBy(desc ocispec.Descriptor, referrers []ocispec.Descriptor) bool {
	names, tag := namesOf(desc, nil)
	return len(names) == 0 && slices.ContainsFunc(referrers, func(r ocispec.Descriptor) bool {
		return r.Annotations[ocispec.AnnotationRefName] == tag && (tag != "" || r.Digest == desc.Digest)
	})
}

// replaces says whether an entry goes because a root of this run has its name,
// or is the same and neither has one.
func (s *sink) replaces(desc ocispec.Descriptor) bool {
	names, tag := namesOf(desc, nil)
	for _, m := range s.manifests {
		if !m.Root {
			continue
		}
		for _, n := range imagename.AllFull(m.Names) {
			if slices.Contains(names, n) {
				return true
			}
		}
		if m.Desc.Digest == desc.Digest && len(names) == 0 && tag == "" {
			return true
		}
	}
	return false
}

// indexEntries are what index.json says of a root: an entry for each name, in
// the annotations that containerd and Docker read. The reference name is the
// tag, as podman, skopeo and umoci take it, where no other image of the layout
// has that tag; then it is the full name.
func indexEntries(desc ocispec.Descriptor, names []string, tags map[string]bool) []ocispec.Descriptor {
	return ocilayout.Entries(desc, names, func(full string) string {
		_, ref := imagename.Split(full)
		if tags[ref] {
			ref = full
		}
		tags[ref] = true
		return ref
	})
}

// setAside gives a damaged list another name and says so.
func (s *sink) setAside(name string, why error, then string) error {
	for i := 1; ; i++ {
		aside := fmt.Sprintf("%s.damaged-%d", name, i)
		if _, err := s.session.root.Lstat(aside); err == nil {
			continue
		}
		if err := s.session.Place(name, aside); err != nil {
			return err
		}
		s.cfg.Events.Warn(fmt.Sprintf("%s: %s cannot be read (%v); it is now %s, and %s", s.path, name, why, aside, then))
		return nil
	}
}
