package keep

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
)

// Downstream keeps images in another registry, below a path of it: "team/app" is
// HOST/PREFIX/team/app, in every address and in the scope of every token. The prefix
// may be "". The hosts of Docker Hub are one.
func Downstream(c *remote.Client, host, prefix string) Keeper {
	return &downstream{c, host, prefix}
}

type downstream struct {
	client       *remote.Client
	host, prefix string
}

var _ Keeper = (*downstream)(nil)

// Sink pushes into the repository. A name that is none is an error of the sink, and
// part of no request.
func (d *downstream) Sink(_ context.Context, repository string, tags []string) (pipeline.Sink, error) {
	return d.repository(repository).Sink(tags), nil
}

// Backend reads what is downstream.
func (d *downstream) Backend() registry.Backend { return d.client.Backend(d.host, d.prefix) }

var _ Sizer = (*downstream)(nil)

// OpenSized reads a blob from its start.
func (d *downstream) OpenSized(ctx context.Context, repository string, blob digest.Digest) (io.ReadCloser, int64, error) {
	return d.repository(repository).OpenBlob(ctx, blob, 0)
}

// repository is where a repository is downstream.
func (d *downstream) repository(name string) *remote.Repository {
	if d.prefix != "" {
		name = d.prefix + "/" + name
	}
	return d.client.Repository(d.host, name)
}
