package content

import (
	"context"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/plugins"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// blobFiles is the folder that containerd's content store keeps blobs in; "" if
// it cannot be read. Whether a namespace has a blob only containerd knows.
type blobFiles string

// files asks containerd where its content store is.
func (s *store) files(ctx context.Context) blobFiles {
	found, err := s.cli.IntrospectionService().Plugins(s.in(ctx), "type=="+string(plugins.ContentPlugin))
	if err != nil {
		return ""
	}
	for _, p := range found.GetPlugins() {
		root := p.GetExports()["root"]
		if !filepath.IsAbs(root) {
			continue
		}
		folder := filepath.Join(root, "blobs")
		if d, err := os.Open(folder); err == nil {
			_ = d.Close() // nothing was written
			return blobFiles(folder)
		}
	}
	return ""
}

// open opens the file of a blob; nil where there is none of that size, as where
// containerd sees other files than we do.
func (b blobFiles) open(desc ocispec.Descriptor) *os.File {
	if b == "" || desc.Digest.Validate() != nil {
		return nil
	}
	f, err := os.Open(filepath.Join(string(b), desc.Digest.Algorithm().String(), desc.Digest.Encoded()))
	if err != nil {
		return nil
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() != desc.Size {
		_ = f.Close() // nothing was written
		return nil
	}
	return f
}
