package tarball

import (
	"encoding/json"
	"fmt"

	"github.com/docker/go-units"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// leaveOut says whether a layer need not be in the archive.
func (s *sink) leaveOut(l pipeline.Layer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.Blob.Digest == "" || s.committed[l.Blob.Digest] || !s.have.Holds(l) {
		return false
	}
	s.left[l.Blob.Digest] = true
	return true
}

// takeBack leaves out a layer that has come, and turns out to be one that the
// destination has: a filter has made of it what it made before.
func (s *sink) takeBack(w *layerWriter, blob, diffID digest.Digest) (bool, error) {
	if s.have == nil || !s.have.HoldsBlob(blob, diffID) {
		return false, nil
	}
	s.mu.Lock()
	s.left[blob] = true
	s.mu.Unlock()
	if err := w.Close(); err != nil {
		return true, err
	}
	return true, s.explain(s.queue.skip(w.slot.seq))
}

// omitted are the layers of these manifests that are not in the archive.
func (s *sink) omitted(manifests []parsed) (out []omitted) {
	seen := map[digest.Digest]bool{}
	for _, m := range manifests {
		for _, h := range holdings(m) {
			d := h.Blob.Digest
			if seen[d] || s.committed[d] || !s.left[d] {
				continue
			}
			seen[d] = true
			out = append(out, omitted{Digest: d, Size: h.Blob.Size, DiffID: h.DiffID, ChainID: h.ChainID})
		}
	}
	return out
}

// tellPartial says that the archive is good for one place only.
func (s *sink) tellPartial(left []omitted) {
	var size int64
	for _, o := range left {
		size += o.Size
	}
	s.cfg.Events.Warn(fmt.Sprintf("%s is a partial archive: it leaves out %d layers (%s) that are at its destination, and is of no use elsewhere",
		s.what, len(left), units.BytesSize(float64(size))))
}

// holdings are the layers of a manifest as a place that has the image holds them:
// those of a file system upon what lies below, which is what all stores can do.
// Layers that stay where their URLs point are nowhere.
func holdings(m parsed) (out []pipeline.Holding) {
	var config struct {
		RootFS struct {
			DiffIDs []digest.Digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	image := m.runnable() && json.Unmarshal(m.Config, &config) == nil && len(config.RootFS.DiffIDs) == len(m.layers)
	chains := pipeline.ChainIDs(config.RootFS.DiffIDs)
	for i, l := range m.layers {
		if len(l.URLs) > 0 {
			continue
		}
		h := pipeline.Holding{Blob: ocispec.Descriptor{MediaType: l.MediaType, Digest: l.Digest, Size: l.Size}}
		if image {
			h.DiffID, h.ChainID = config.RootFS.DiffIDs[i], chains[i]
		}
		out = append(out, h)
	}
	return out
}
