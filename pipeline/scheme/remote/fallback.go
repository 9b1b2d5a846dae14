package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// headerSubject is what a registry with the referrers API answers to a manifest
// that has a subject.
const headerSubject = "OCI-Subject"

// commitReferrer puts a referrer by its digest, behind what it speaks of. Its
// tags, and the lists that stand for the referrers API where the registry has
// none, wait for Publish.
func (s *Sink) commitReferrer(ctx context.Context, m pipeline.Manifest) error {
	if err := s.rootsByDigest(ctx); err != nil {
		return err
	}
	header, err := s.put(ctx, m, m.Desc.Digest.String())
	if err != nil {
		return err
	}
	for _, of := range m.Refers {
		if of.Tag != "" {
			s.tags = append(s.tags, tagged{of.Tag, m})
		}
	}
	subject, err := pipeline.SubjectOf(m.Raw)
	if err != nil {
		return fmt.Errorf("read manifest %s: %w", m.Desc.Digest, err)
	}
	if subject != "" && header.Get(headerSubject) == "" {
		if s.unlisted[subject] == nil {
			s.subjects = append(s.subjects, subject)
		}
		s.unlisted[subject] = append(s.unlisted[subject], ocispec.Descriptor{
			MediaType: m.Desc.MediaType, Digest: m.Desc.Digest, Size: m.Desc.Size, ArtifactType: m.Desc.ArtifactType, Annotations: m.Desc.Annotations,
		})
	}
	return nil
}

// tagged is a manifest that gets a tag of cosign's.
type tagged struct {
	tag string
	m   pipeline.Manifest
}

// rootsByDigest puts the roots where nobody sees them yet: some registries
// refuse what refers to a manifest that they do not have.
func (s *Sink) rootsByDigest(ctx context.Context) error {
	for _, m := range s.roots[s.byDigest:] {
		if _, err := s.put(ctx, m, m.Desc.Digest.String()); err != nil {
			return err
		}
		s.byDigest++
	}
	return nil
}

// publishReferrers makes the referrers known, before the root gets its name:
// whoever sees the image then finds its signature.
func (s *Sink) publishReferrers(ctx context.Context) error {
	if err := s.publishLists(ctx); err != nil {
		return err
	}
	for _, t := range s.tags {
		if _, err := s.put(ctx, t.m, t.tag); err != nil {
			return err
		}
	}
	s.subjects, s.tags = nil, nil
	return nil
}

// maxConflicts bounds how often a list is merged again because somebody else
// changed it meanwhile.
const maxConflicts = 8

// settling is the part of a retry's wait after which a list is looked at again.
const settling = 4

// publishLists adds what is not listed to its lists. Few registries know
// conditions, so two who change a list at once do not hear of each other, and the
// later one wins: whoever has changed a list looks a moment later whether it still
// says so.
func (s *Sink) publishLists(ctx context.Context) error {
	open := s.subjects
	for round := range maxConflicts {
		var changed []digest.Digest
		for _, subject := range open {
			put, err := s.list(ctx, subject, s.unlisted[subject])
			if err != nil {
				return fmt.Errorf("list the referrers of %s: %w", subject, err)
			}
			if put {
				changed = append(changed, subject)
			}
		}
		if open = changed; len(open) == 0 {
			return nil
		}
		if err := pause(ctx, s.client.wait(round, nil)/settling); err != nil {
			return err
		}
	}
	return fmt.Errorf("list the referrers of %s: what was put under the tag %s is not there afterwards, %d times; try again", open[0], pipeline.ReferrersTag(open[0]), maxConflicts)
}

// list adds referrers to the list under the tag that stands for the referrers
// API (distribution-spec, "Unavailable Referrers API"), and says whether it had to.
func (s *Sink) list(ctx context.Context, subject digest.Digest, fresh []ocispec.Descriptor) (put bool, err error) {
	tag := pipeline.ReferrersTag(subject)
	for range maxConflicts {
		raw, condition, err := s.listed(ctx, tag)
		if err != nil {
			return false, err
		}
		now, err := merged(raw, fresh)
		if err != nil {
			return false, fmt.Errorf("tag %s: %w", tag, err)
		}
		if string(now) == string(raw) {
			return false, nil
		}
		m := pipeline.Manifest{Raw: now, Desc: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(now), Size: int64(len(now))}}
		_, err = s.putIf(ctx, m, tag, condition)
		var status *StatusError
		if errors.As(err, &status) && status.Status == http.StatusPreconditionFailed {
			continue
		}
		return true, err
	}
	return false, fmt.Errorf("tag %s: others changed it %d times meanwhile; try again", tag, maxConflicts)
}

// emptyList is what a new list starts from.
const emptyList = `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[]}`

// listed reads a list, and the header by which it is replaced only if nobody has
// changed it meanwhile.
func (s *Sink) listed(ctx context.Context, tag string) (raw []byte, condition http.Header, err error) {
	c := s.client
	what := "list of referrers " + c.ref.Origin() + ":" + tag
	raw, header, err := c.get(ctx, "manifests/"+tag, what, pipeline.Limits{}, call{header: http.Header{"Accept": {acceptManifests}}})
	if errors.Is(err, pipeline.ErrNotFound) {
		return []byte(emptyList), nil, nil
	}
	if err != nil {
		return nil, nil, c.explain(err, what)
	}
	kind, err := manifestType(raw, header.Get("Content-Type"))
	if err != nil || kind != ocispec.MediaTypeImageIndex {
		return nil, nil, fmt.Errorf("%s: it is something else, which is not overwritten (leave --referrers out, or remove the tag)", what)
	}
	if tag := header.Get("ETag"); strings.HasPrefix(tag, `"`) { // a weak one never matches (RFC 9110, 13.1.1)
		condition = http.Header{"If-Match": {tag}}
	}
	return raw, condition, nil
}

// merged is a list with what it lacks of fresh; what it has keeps its bytes.
func merged(raw []byte, fresh []ocispec.Descriptor) ([]byte, error) {
	o, err := pipeline.ParseObject(raw)
	if err != nil {
		return nil, err
	}
	var entries []json.RawMessage
	var descs []ocispec.Descriptor
	if err := json.Unmarshal(o.Get("manifests"), &entries); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(o.Get("manifests"), &descs); err != nil {
		return nil, err
	}
	have := map[digest.Digest]bool{}
	for _, d := range descs {
		have[d.Digest] = true
	}
	was := len(entries)
	for _, d := range fresh {
		if have[d.Digest] {
			continue
		}
		have[d.Digest] = true
		entry, err := json.Marshal(d)
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	if len(entries) == was {
		return raw, nil
	}
	if err := o.Set("manifests", entries); err != nil {
		return nil, err
	}
	return o.Bytes(), nil
}
