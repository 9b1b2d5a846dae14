package pipeline

import (
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Docker's media types (distribution, "Image Manifest V 2, Schema 2").
const (
	MediaTypeDockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaTypeDockerConfig       = "application/vnd.docker.container.image.v1+json"
	mediaTypeDockerLayer        = "application/vnd.docker.image.rootfs.diff.tar"
	mediaTypeDockerForeign      = "application/vnd.docker.image.rootfs.foreign.diff.tar"
	mediaTypeOCIForeign         = "application/vnd.oci.image.layer.nondistributable.v1.tar"
)

// IsIndex says whether a media type is that of an index or manifest list.
func IsIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == MediaTypeDockerManifestList
}

// IsManifest says whether a media type is that of an image or artifact
// manifest.
func IsManifest(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageManifest || mediaType == MediaTypeDockerManifest
}

// isImageConfig says whether a config's media type is that of an image.
func isImageConfig(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageConfig || mediaType == MediaTypeDockerConfig
}

// isOpaque says whether a layer's media type is that of something else than a
// file system, though its manifest has an image's config: attestations are so.
// An encrypted layer cannot be looked into.
// Cosign keeps SBOMs so, as text or XML too.
func isOpaque(mediaType string) bool {
	return strings.HasSuffix(mediaType, "+json") || strings.HasSuffix(mediaType, "/json") ||
		strings.HasSuffix(mediaType, "+xml") || strings.HasPrefix(mediaType, "text/") || mediaType == "application/vnd.cyclonedx" ||
		strings.HasSuffix(mediaType, "+encrypted")
}

// isForeign says whether a layer is one that its registry need not hold.
func isForeign(desc ocispec.Descriptor) bool { return len(desc.URLs) > 0 }

// docker says whether a media type is of Docker's family.
func dockerFamily(mediaType string) bool {
	return strings.HasPrefix(mediaType, "application/vnd.docker.")
}

// layerType is the media type of a layer in a family of types. Docker has no
// name for zstd: the manifest becomes an OCI one first.
func layerType(docker bool, c Compression) string {
	switch {
	case docker && c == Gzip:
		return mediaTypeDockerLayer + ".gzip"
	case docker:
		return mediaTypeDockerLayer
	case c == Gzip:
		return ocispec.MediaTypeImageLayerGzip
	case c == Zstd:
		return ocispec.MediaTypeImageLayerZstd
	}
	return ocispec.MediaTypeImageLayer
}

// mediaType is that of a layer's result.
func (o *outcome) mediaType() string {
	if o.Result.MediaType != "" {
		return o.Result.MediaType
	}
	return o.mediaTypeFrom(o.Source.MediaType)
}

// mediaTypeFrom is the media type that a layer of another now has.
func (o *outcome) mediaTypeFrom(was string) string {
	if o.compression == "" {
		return was
	}
	return layerType(dockerFamily(was) && o.compression != Zstd, o.compression)
}

// LayerCompression is what a layer's media type claims; "" for no known claim.
// Only the bytes tell the truth.
func LayerCompression(mediaType string) Compression {
	switch {
	case strings.HasSuffix(mediaType, "+gzip"), strings.HasSuffix(mediaType, ".gzip"):
		return Gzip
	case strings.HasSuffix(mediaType, "+zstd"), strings.HasSuffix(mediaType, ".zstd"):
		return Zstd
	case strings.HasSuffix(mediaType, ".tar"):
		return Plain
	}
	return ""
}

// ociType translates Docker's media types; others stay.
func ociType(mediaType string) string {
	switch mediaType {
	case MediaTypeDockerManifest:
		return ocispec.MediaTypeImageManifest
	case MediaTypeDockerManifestList:
		return ocispec.MediaTypeImageIndex
	case MediaTypeDockerConfig:
		return ocispec.MediaTypeImageConfig
	case mediaTypeDockerForeign, mediaTypeDockerForeign + ".gzip":
		return mediaTypeOCIForeign + strings.Replace(strings.TrimPrefix(mediaType, mediaTypeDockerForeign), ".", "+", 1)
	}
	if strings.HasPrefix(mediaType, mediaTypeDockerLayer) {
		return layerType(false, LayerCompression(mediaType))
	}
	return mediaType
}
