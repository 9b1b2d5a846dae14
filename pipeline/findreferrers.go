package pipeline

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// FindReferrers tells, for a place that has no list of them, what refers to
// which manifest: by the subject that manifests among blobs name, and by cosign's
// tags among roots. Of blobs (whose media types need not be known) only those are
// read that begin as JSON does and are no larger than a manifest may be. A blob
// whose bytes are not those of its digest refers to nothing.
func FindReferrers(ctx context.Context, c Content, roots []Root, blobs iter.Seq[ocispec.Descriptor], limits Limits) (map[digest.Digest][]Referrer, error) {
	limits = limits.WithDefaults()
	found := map[digest.Digest][]Referrer{}
	for _, root := range roots {
		for _, of := range root.cosigns() {
			found[of.Subject] = append(found[of.Subject], Referrer{Desc: root.Desc, Tag: of.Tag})
		}
	}
	for desc := range blobs {
		if desc.Size > limits.Manifest {
			continue
		}
		subject, ref, err := readReferrer(ctx, c, desc)
		if err != nil {
			return nil, err
		}
		if subject != "" {
			found[subject] = append(found[subject], ref)
		}
	}
	for subject, refs := range found {
		if len(refs) > limits.Manifests {
			return nil, fmt.Errorf("%s has more than %d referrers: %w", subject, limits.Manifests, ErrLimit)
		}
	}
	return found, nil
}

// readReferrer reads a blob that may be a manifest; subject is "" where it is
// none that refers to something.
func readReferrer(ctx context.Context, c Content, desc ocispec.Descriptor) (subject digest.Digest, ref Referrer, err error) {
	rc, err := c.Open(ctx, desc)
	if err != nil {
		return "", ref, err
	}
	defer rc.Close()
	r := bufio.NewReader(rc)
	if first, err := r.Peek(1); err != nil || first[0] != '{' {
		return "", ref, nil // nothing that refers to something
	}
	raw, err := io.ReadAll(r)
	if errors.Is(err, ErrDigest) {
		return "", ref, nil
	}
	if err != nil {
		return "", ref, err
	}
	var m struct {
		MediaType string             `json:"mediaType"`
		Subject   ocispec.Descriptor `json:"subject"`
		Manifests json.RawMessage    `json:"manifests"`
	}
	if json.Unmarshal(raw, &m) != nil || m.Subject.Digest.Validate() != nil {
		return "", ref, nil
	}
	switch {
	case m.MediaType != "":
	case m.Manifests != nil:
		m.MediaType = ocispec.MediaTypeImageIndex
	default:
		m.MediaType = ocispec.MediaTypeImageManifest
	}
	ref.Desc = ocispec.Descriptor{MediaType: m.MediaType, Digest: desc.Digest, Size: int64(len(raw))}
	return m.Subject.Digest, ref, nil
}
