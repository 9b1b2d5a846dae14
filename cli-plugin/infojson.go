package cliplugin

import (
	"io"
	"slices"
	"time"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
)

// jsonInfo is an image as programs get it: the original's fields in its order,
// and more.
type jsonInfo struct {
	Image          string            `json:"image"`
	Tag            string            `json:"tag"`
	SchemaVersion  int               `json:"schema_version,omitempty"`
	MediaType      string            `json:"media_type,omitempty"`
	ConfigDigest   digest.Digest     `json:"config_digest,omitempty"`
	ConfigSize     int64             `json:"config_size,omitempty"`
	ManifestDigest digest.Digest     `json:"manifest_digest,omitempty"`
	IndexDigest    digest.Digest     `json:"index_digest,omitempty"`
	Annotations    map[string]string `json:"annotations,omitempty"`
	LayerCount     int               `json:"layer_count"`
	Compressed     *int64            `json:"total_compressed_size,omitempty"`
	Layers         []jsonInfoLayer   `json:"layers"`
	Architecture   string            `json:"architecture,omitempty"`
	OS             string            `json:"os,omitempty"`
	Variant        string            `json:"variant,omitempty"`
	Created        *time.Time        `json:"created,omitempty"`
	DiffIDs        []digest.Digest   `json:"diff_ids,omitempty"`
	HistoryCount   int               `json:"history_count"`
	EmptyLayers    int               `json:"empty_layer_count"`
	Labels         map[string]string `json:"labels,omitempty"`
	Env            []string          `json:"env,omitempty"`
	Entrypoint     []string          `json:"entrypoint,omitempty"`
	Cmd            []string          `json:"cmd,omitempty"`
	WorkingDir     string            `json:"working_dir,omitempty"`
	User           string            `json:"user,omitempty"`
	StopSignal     string            `json:"stop_signal,omitempty"`
	Ports          []string          `json:"exposed_ports,omitempty"`
	Volumes        []string          `json:"volumes,omitempty"`
	Waste          *jsonWaste        `json:"waste,omitempty"`
}

type jsonInfoLayer struct {
	Index       int           `json:"index"`
	Digest      digest.Digest `json:"digest,omitempty"`
	Size        *int64        `json:"size,omitempty"`
	MediaType   string        `json:"media_type,omitempty"`
	Compression string        `json:"compression,omitempty"`
	DiffID      digest.Digest `json:"diff_id,omitempty"`
	CreatedBy   string        `json:"created_by,omitempty"`
	Created     *time.Time    `json:"created,omitempty"`
	Share       *float64      `json:"share,omitempty"`
}

// jsonEntryOf is an entry of an index.
type jsonEntryOf struct {
	Index       digest.Digest `json:"index"`
	Digest      digest.Digest `json:"digest"`
	Size        int64         `json:"size"`
	MediaType   string        `json:"media_type"`
	Platform    string        `json:"platform,omitempty"`
	Attestation digest.Digest `json:"attestation_of,omitempty"`
	Held        *bool         `json:"held,omitempty"`
}

// jsonInfos is the first image's fields, as ever, and all images.
type jsonInfos struct {
	*jsonInfo
	Entries []jsonEntryOf `json:"index_entries,omitempty"`
	Images  []*jsonInfo   `json:"images,omitempty"`
}

func writeInfoJSON(w io.Writer, a *inspected) error {
	var out jsonInfos
	for _, e := range a.entries {
		j := jsonEntryOf{Index: e.index, Digest: e.Digest, Size: e.Size, MediaType: e.MediaType, Held: e.held}
		if of, ok := pipeline.AttestationOf(e.Descriptor); ok {
			j.Attestation = of
		} else if e.Platform != nil {
			j.Platform = platforms.FormatAll(*e.Platform)
		}
		out.Entries = append(out.Entries, j)
	}
	for _, i := range a.images {
		out.Images = append(out.Images, newJSONInfo(i))
	}
	if len(out.Images) > 0 {
		out.jsonInfo = out.Images[0]
	}
	if len(out.Images) == 1 {
		out.Images = nil
	}
	return writeJSON(w, out)
}

func newJSONInfo(i *inspectedImage) *jsonInfo {
	c := i.config.Config
	out := &jsonInfo{
		Image: "unknown", Tag: "unknown", SchemaVersion: i.manifest.SchemaVersion, MediaType: i.desc.MediaType,
		ConfigSize: i.manifest.Config.Size, Annotations: i.manifest.Annotations, LayerCount: len(i.layers), Layers: []jsonInfoLayer{},
		Architecture: i.config.Architecture, OS: i.config.OS, Variant: i.config.Variant, Created: i.config.Created,
		DiffIDs: i.config.RootFS.DiffIDs, HistoryCount: len(i.config.History), EmptyLayers: i.empty,
		Labels: c.Labels, Env: c.Env, Entrypoint: c.Entrypoint, Cmd: c.Cmd, WorkingDir: c.WorkingDir, User: c.User, StopSignal: c.StopSignal,
		Ports: sortedKeys(c.ExposedPorts), Volumes: sortedKeys(c.Volumes), Waste: newJSONWaste(i.waste),
	}
	out.ConfigDigest, out.ManifestDigest, out.IndexDigest = i.digests()
	if len(i.names) > 0 {
		out.Image, out.Tag = nameAndTag(i.names[0])
	}
	all := i.compressed()
	if !i.bare {
		out.Compressed = &all
	}
	for n, l := range i.layers {
		j := jsonInfoLayer{Index: n, DiffID: l.diffID}
		if !i.bare {
			part := share(l.Size, all)
			j.Digest, j.MediaType, j.Compression = l.Digest, l.MediaType, compressionOf(l.MediaType)
			j.Size, j.Share = &l.Size, &part
		}
		if l.history != nil {
			j.CreatedBy, j.Created = l.history.CreatedBy, l.history.Created
		}
		out.Layers = append(out.Layers, j)
	}
	return out
}

// compressionOf is what a media type says, in the words of the original.
func compressionOf(mediaType string) string {
	if c := pipeline.LayerCompression(mediaType); c != "" {
		return string(c)
	}
	return "unknown"
}

// share is a part of a whole, from 0 to 1.
func share(part, whole int64) float64 {
	if whole <= 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

func sortedKeys(m map[string]struct{}) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
