package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The ends of the tags under which cosign keeps what it has to say of a
// manifest, and the types of the blobs in it (sigstore/cosign,
// specs/SIGNATURE_SPEC.md and specs/ATTESTATION_SPEC.md).
const (
	cosignSignature   = ".sig"
	cosignAttestation = ".att"
	cosignSBOM        = ".sbom"

	typeSimpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json"
	typeDSSE          = "application/vnd.dsse.envelope.v1+json"
)

var cosignEnds = map[string]string{cosignSignature: "cosign signature", cosignAttestation: "cosign attestation", cosignSBOM: "cosign SBOM"}

// CosignTags are the tags under which cosign keeps a manifest's signatures,
// attestations and SBOM, in its repository.
func CosignTags(d digest.Digest) []string {
	base := strings.Replace(d.String(), ":", "-", 1)
	return []string{base + cosignSignature, base + cosignAttestation, base + cosignSBOM}
}

// CosignSubject is the inverse of CosignTags.
func CosignSubject(tag string) (subject digest.Digest, ok bool) {
	i := strings.LastIndexByte(tag, '.')
	if i < 0 || cosignEnds[tag[i:]] == "" {
		return "", false
	}
	d := digest.Digest(strings.Replace(tag[:i], "-", ":", 1))
	return d, d.Validate() == nil
}

// The longest parts that ReferrersTag takes from a digest.
const (
	tagAlgorithm = 32
	tagEncoded   = 64
)

// ReferrersTag is the tag of the list of a manifest's referrers in a registry
// that has no API for it (distribution-spec, "Referrers Tag Schema").
func ReferrersTag(d digest.Digest) string {
	a, e := d.Algorithm().String(), d.Encoded()
	return a[:min(len(a), tagAlgorithm)] + "-" + e[:min(len(e), tagEncoded)]
}

// cosigns is what a root speaks of by tags of cosign's.
func (r Root) cosigns() (of []Referral) {
	for _, name := range slices.Concat(r.Tags, r.Names) {
		tag := name[strings.LastIndexByte(name, ':')+1:]
		if subject, ok := CosignSubject(tag); ok {
			of = append(of, Referral{Subject: subject, Tag: tag})
		}
	}
	return of
}

// lists is the manifest whose referrers a root lists, as regctl writes them into
// layouts; "" for none. Of digests that the tag cuts short nobody can tell.
func (r Root) lists() digest.Digest {
	for _, tag := range r.Tags {
		d := digest.Digest(strings.Replace(tag, "-", ":", 1))
		if IsIndex(r.Desc.MediaType) && d.Validate() == nil && ReferrersTag(d) == tag {
			return d
		}
	}
	return ""
}

// isCosigns says whether a manifest is what its tag promises: a signature or
// attestation whose every blob speaks of the subject, or an SBOM, which says
// nothing of it and is at least no image.
func (r *resolver) isCosigns(ctx context.Context, c Content, desc ocispec.Descriptor, raw []byte, of Referral) (bool, error) {
	if IsIndex(desc.MediaType) {
		return false, nil
	}
	m, err := parseManifest(desc, raw)
	if err != nil {
		return false, err
	}
	if _, image, _ := readImageConfig(m, nil); image {
		return false, nil
	}
	if strings.HasSuffix(of.Tag, cosignSBOM) {
		return true, nil
	}
	want, digests := typeSimpleSigning, signedDigests
	if strings.HasSuffix(of.Tag, cosignAttestation) {
		want, digests = typeDSSE, attestedDigests
	}
	if len(m.Layers) > r.limits.Manifests {
		return false, fmt.Errorf("more than %d signatures: %w", r.limits.Manifests, ErrLimit)
	}
	for _, l := range m.Layers {
		if l.MediaType != want {
			return false, nil
		}
		if l.Size > r.limits.Manifest { // an SBOM may be in it; it is not read for a check of its label
			continue
		}
		payload, err := r.blob(ctx, c, "payload", l, desc.Digest)
		if err != nil {
			return false, err
		}
		if !digests(payload)[of.Subject] {
			return false, nil
		}
	}
	return true, nil
}

// signedDigests is what a simple signing payload signs.
func signedDigests(payload []byte) map[digest.Digest]bool {
	var p struct {
		Critical struct {
			Image struct {
				Digest digest.Digest `json:"docker-manifest-digest"`
			} `json:"image"`
		} `json:"critical"`
	}
	if json.Unmarshal(payload, &p) != nil {
		return nil
	}
	return map[digest.Digest]bool{p.Critical.Image.Digest: true}
}

// attestedDigests is what the in-toto statement in a DSSE envelope is about.
func attestedDigests(envelope []byte) map[digest.Digest]bool {
	var e struct {
		Payload []byte `json:"payload"`
	}
	var s struct {
		Subject []struct {
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
	}
	if json.Unmarshal(envelope, &e) != nil || json.Unmarshal(e.Payload, &s) != nil {
		return nil
	}
	out := map[digest.Digest]bool{}
	for _, subject := range s.Subject {
		for algorithm, encoded := range subject.Digest {
			out[digest.NewDigestFromEncoded(digest.Algorithm(algorithm), encoded)] = true
		}
	}
	return out
}
