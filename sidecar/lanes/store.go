package lanes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/plugin/control/wire"
)

// Folders below a containerd's root (containerd, plugins/content/local and
// core/metadata).
const (
	contentFolder  = "io.containerd.content.v1.content"
	metadataFolder = "io.containerd.metadata.v1.bolt"
	metadataFile   = "meta.db"
)

// A store is a containerd's content store, and what its database says of it.
type store struct {
	Containerd

	mu   sync.Mutex // one at a time reads the database
	last *catalog
}

// blob finds a blob that may be lent, and opens it.
func (n *session) blob(ctx context.Context, r wire.Request) (wire.Answer, loan, error) {
	s, ok := n.server.stores[r.Engine]
	switch {
	case !ok:
		return wire.Answer{}, loan{}, wire.Errorf(wire.Denied, "engine %q is no containerd that the sidecar reads", truncated(r.Engine))
	case !slices.Contains(s.Namespaces, r.Namespace):
		return wire.Answer{}, loan{}, wire.Errorf(wire.Denied, "the sidecar lends nothing of namespace %q; namespaces in its config.toml says of which it does", truncated(r.Namespace))
	}
	if err := checkDigests(map[string]digest.Digest{"image": r.Image, "blob": r.Blob}); err != nil {
		return wire.Answer{}, loan{}, err
	}
	if err := n.grants.check(ctx, s, r.Namespace, r.Image, r.Blob); err != nil {
		return wire.Answer{}, loan{}, err
	}
	f, size, err := s.lend(r.Blob, n.who)
	if err != nil {
		return wire.Answer{}, loan{}, err
	}
	return wire.Answer{Size: size}, loan{file: f}, nil
}

// lend opens a blob for a peer. Who opens the descriptor again by /proc gets
// what the file's mode allows: so one that the peer could write is not lent.
func (s *store) lend(d digest.Digest, to peer) (*os.File, int64, error) {
	f, info, err := s.open(d)
	if err != nil {
		return nil, 0, err
	}
	if other := writable(info, to); other != "" {
		return nil, 0, errors.Join(wire.Errorf(wire.Denied, "the file of %s is not lent: %s; containerd's own are not", d, other), f.Close())
	}
	return f, info.Size(), nil
}

// open opens the file of a blob.
func (s *store) open(d digest.Digest) (*os.File, fs.FileInfo, error) {
	f, err := openBeneath(s.Root, contentFolder, "blobs", d.Algorithm().String(), d.Encoded())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s is not in the content store of %s any more: %w", d, s.Root, pipeline.ErrNotFound)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("open %s in the content store of %s: %w", d, s.Root, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s in the content store of %s is no file but %s", d, s.Root, info.Mode())
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// manifest reads a manifest or index, and checks that it is the one.
func (s *store) manifest(d digest.Digest) ([]byte, error) {
	f, info, err := s.open(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := (pipeline.Limits{}).WithDefaults().CheckManifest(d.String(), info.Size()); err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, info.Size()))
	if err != nil {
		return nil, fmt.Errorf("read %s in the content store of %s: %w", d, s.Root, err)
	}
	if d.Algorithm().FromBytes(raw) != d {
		return nil, fmt.Errorf("%s in the content store of %s: %w: its bytes have another digest", d, s.Root, pipeline.ErrDigest)
	}
	return raw, nil
}
