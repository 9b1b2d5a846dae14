package cliplugin

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// metadataContent is the content of --metadata-file: for the first image what docker
// buildx writes, so that the same scripts read it, and the whole report.
type metadataContent struct {
	Digest     digest.Digest       `json:"containerimage.digest,omitempty"`
	Descriptor *ocispec.Descriptor `json:"containerimage.descriptor,omitempty"`
	Config     digest.Digest       `json:"containerimage.config.digest,omitempty"`
	Name       string              `json:"image.name,omitempty"`
	Report     *report             `json:"occystrap.report"`
}

// writeMetadata writes the file under its name only when it is complete.
func writeMetadata(name string, r pipeline.Report, to pipeline.Location) error {
	content := metadataContent{Report: newReport(r, to.String())}
	if len(r.Roots) > 0 {
		first := r.Roots[0]
		content.Digest, content.Descriptor = first.Manifest.Digest, &first.Manifest
		content.Config, content.Name = first.Config, publishedName(to, first)
	}
	data, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return fmt.Errorf("write metadata file %s: %w", name, err)
	}
	if err := replaceFile(name, append(data, '\n')); err != nil {
		return fmt.Errorf("write metadata file: %w", err)
	}
	return nil
}

// publishedName is the name that the destination gives an image: its own, or
// those that came with the image.
func publishedName(to pipeline.Location, root pipeline.RootReport) string {
	if name := strings.TrimPrefix(to.Host+to.Path, "/"); name != "" && (to.Scheme == "registry" || to.Scheme == "docker") {
		return name
	}
	return strings.Join(root.Names, ",")
}

// replaceFile writes data beside name and renames it.
func replaceFile(name string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err != nil {
		_ = f.Close()
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	const readable = 0o644 // digests are no secret; CreateTemp gives 0600
	if err = os.Chmod(f.Name(), readable); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
