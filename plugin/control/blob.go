package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/plugin/control/wire"
)

// Blob returns the file, to be read only, of a blob that an image in a namespace
// of a containerd reaches: its index, manifests, configs and layers. The caller
// closes it, and checks what it reads against the digest. pipeline.ErrNotFound
// means that the image is not there or does not reach the blob.
func (c *Client) Blob(ctx context.Context, namespace string, image, blob digest.Digest) (*os.File, error) {
	var f *os.File
	err := c.try(ctx, func(s *session) (bool, error) {
		var err error
		f, err = s.find(ctx, namespace, image, blob)
		return false, err
	})
	if err != nil {
		return nil, fmt.Errorf("ask the sidecar for %s: %w", blob, err)
	}
	return f, nil
}

// find asks all that have the namespace: what has the digest has the right
// bytes.
func (s *session) find(ctx context.Context, namespace string, image, blob digest.Digest) (*os.File, error) {
	err := notLent(namespace)
	for _, e := range s.info.Engines {
		if !lends(e, namespace) {
			continue
		}
		var f *os.File
		f, err = s.blob(ctx, wire.Request{Op: wire.OpBlob, Engine: e.Name, Namespace: namespace, Image: image, Blob: blob})
		if !errors.Is(err, pipeline.ErrNotFound) {
			return f, err
		}
	}
	return nil, err
}

// Lends says whether the sidecar lends blobs of a namespace, or why not.
func (c *Client) Lends(ctx context.Context, namespace string) error {
	info, err := c.Hello(ctx)
	if err == nil && !slices.ContainsFunc(info.Engines, func(e wire.Engine) bool { return lends(e, namespace) }) {
		err = notLent(namespace)
	}
	return err
}

func lends(e wire.Engine, namespace string) bool {
	return e.Kind == wire.Containerd && slices.Contains(e.Namespaces, namespace)
}

func notLent(namespace string) error {
	return fmt.Errorf("%w: it lends nothing of containerd's namespace %s; its config.toml says of which", ErrRefused, namespace)
}

func (s *session) blob(ctx context.Context, r wire.Request) (*os.File, error) {
	var f *os.File
	answer, err := s.ask(ctx, r, &f)
	if err == nil && f == nil {
		err = errors.New("the sidecar sent no descriptor")
	}
	if err == nil {
		err = regular(f, answer.Size)
	}
	if err != nil && f != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, err
}

// regular refuses what is not the file that was promised.
func regular(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("look at what the sidecar lent: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() != size {
		return fmt.Errorf("the sidecar lent a file of mode %s and %d bytes, and said that it is one of %d", info.Mode(), info.Size(), size)
	}
	return nil
}

// try does something on a connection, which do may keep. One that had been idle
// may have been closed meanwhile, so then it is done once more on a new one.
func (c *Client) try(ctx context.Context, do func(*session) (kept bool, err error)) error {
	s, err := c.session(ctx)
	if err != nil {
		return err
	}
	stale, err := c.once(s, do)
	if !stale || ctx.Err() != nil {
		return err
	}
	if s, err = c.dial(ctx); err != nil {
		return err
	}
	_, err = c.once(s, do)
	return err
}

// once does it, and keeps or closes the connection. stale means that a new one
// may do better.
func (c *Client) once(s *session, do func(*session) (bool, error)) (stale bool, err error) {
	kept, err := do(s)
	switch {
	case kept:
	case s.usable(err):
		c.release(s)
	default:
		return s.used, errors.Join(err, s.conn.Close())
	}
	return false, err
}

// usable says whether a connection is in step after err: a refusal is an answer.
func (s *session) usable(err error) bool {
	var refused *wire.Error
	if errors.As(err, &refused) {
		return refused.Code != wire.Malformed && refused.Code != wire.Busy
	}
	return err == nil || errors.Is(err, ErrRefused)
}

// Serves says whether the sidecar reads the graph driver of a daemon with that
// root, as the daemon tells it.
func (c *Client) Serves(ctx context.Context, root string) error {
	info, err := c.Hello(ctx)
	if err != nil {
		return err
	}
	_, err = info.graph(root)
	return err
}

// graph finds the engine of a daemon's root.
func (i Info) graph(root string) (wire.Engine, error) {
	at := slices.IndexFunc(i.Engines, func(e wire.Engine) bool { return e.Kind == wire.Docker && e.Root == root })
	switch {
	case i.Protocol < 2: //nolint:mnd // see wire.Newest
		return wire.Engine{}, fmt.Errorf("%w: it is older than this program (%s) and gives no layers", ErrRefused, cmp.Or(i.Program, "of no version"))
	case at < 0:
		return wire.Engine{}, fmt.Errorf("%w: it does not read the images of a daemon at %s; its config.toml says of which", ErrRefused, root)
	}
	return i.Engines[at], nil
}
