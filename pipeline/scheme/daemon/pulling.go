package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/moby/moby/client"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/process"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// pullPath is constant, since the containerd store notes it down with every blob.
const pullPath = "/occystrap/pulled"

// pull has the daemon pull one root, under a temporary name; of an index, each
// platform that came along.
func (s *pullSink) pull(ctx context.Context, a *arrival) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	// A daemon tries a pull that fails again and again; what fails at our end will
	// fail the same way.
	h := registry.New(s.shelf.Backend(strings.TrimPrefix(pullPath, "/")), registry.Options{Failed: func(_ *http.Request, err error) { stop(err) }})
	s.shelf.Failed(func(err error) { stop(err) })
	tag := pullTag()
	s.shelf.Tag(tag, a.root)
	name := s.desk.address + pullPath + ":" + tag
	s.sent = append(s.sent, name)
	want := [][]ocispec.Platform{nil}
	if s.engine.indexes && len(a.images) > 0 {
		want = nil
		for _, c := range a.images {
			want = append(want, []ocispec.Platform{platforms.Normalize(c.platform)})
		}
	}
	for _, p := range want {
		err := s.serve(h, func(auth string) error { return s.engine.pull(ctx, name, auth, p) })
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pull asks for one pull and reads its progress to the end.
func (e *engine) pull(ctx context.Context, name, auth string, p []ocispec.Platform) error {
	body, err := e.cli.ImagePull(ctx, name, client.ImagePullOptions{RegistryAuth: auth, Platforms: p})
	if err != nil {
		return explain(ctx, e.cli, "have the image pulled", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = body.Close() })
	defer stop()
	if err := readSteps(body, "pull"); err != nil {
		return errors.Join(explain(ctx, e.cli, "have the image pulled", err), body.Close())
	}
	return body.Close()
}

// complete loads what is lacking after the pull: the containerd store takes no
// blobs of layers that have snapshots already, in whatever compression, and an
// image without them runs but cannot be pushed or saved. Attestations belong to
// no platform, so no pull brings them.
func (s *pullSink) complete(ctx context.Context, chosen []pipeline.Manifest) (err error) {
	there := map[digest.Digest]bool{} // layers of images that are complete
	var lacking []digest.Digest
	seen := map[digest.Digest]bool{}
	for _, a := range s.arrived {
		have, err := s.engine.available(ctx, a)
		if err != nil {
			return err
		}
		for _, c := range append(a.images, a.others...) {
			for _, d := range c.layers {
				if have[c.manifest.Desc.Digest] {
					there[d] = true
				} else if !seen[d] {
					seen[d] = true
					lacking = append(lacking, d)
				}
			}
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	load := newShipment(s.target, func(d digest.Digest) bool { return there[d] })
	load.start(ctx, s.engine)
	defer func() { err = errors.Join(err, load.close()) }()
	for _, d := range lacking {
		if there[d] || !s.shelf.Holds(d) {
			continue
		}
		if err := load.add(ctx, s.shelf, d); err != nil {
			return err
		}
	}
	return load.deliver(ctx, chosen)
}

// available are the manifests below a root whose content is all there. A graph
// driver has an image whole or not at all.
func (e *engine) available(ctx context.Context, a *arrival) (map[digest.Digest]bool, error) {
	have := map[digest.Digest]bool{}
	found, err := e.cli.ImageInspect(ctx, a.id.String(), client.ImageInspectWithManifests(e.indexes && knows(e.cli, apiManifests)))
	switch {
	case errdefs.IsNotFound(err):
		return have, nil
	case err != nil:
		return nil, explain(ctx, e.cli, fmt.Sprintf("look for the pulled image %s", a.id), err)
	case !e.indexes:
		for _, c := range append(a.images, a.others...) {
			have[c.manifest.Desc.Digest] = true
		}
	}
	for _, m := range found.Manifests {
		have[m.Descriptor.Digest] = m.Available
	}
	return have, nil
}

// pullTag is a tag that says whose it is, so that the next run finds those of one
// that was killed.
func pullTag() string { return process.Name() + "." + strings.ToLower(rand.Text()) }

// forget takes the temporary names away. An image that has no other goes with
// its name: it was not published, or somebody has taken its name away.
func (s *pullSink) forget(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUpTime)
	defer cancel()
	var errs []error
	for _, name := range s.sent {
		errs = append(errs, s.engine.forgetPull(ctx, name))
	}
	s.sent = nil
	return errors.Join(errs...)
}

func (e *engine) forgetPull(ctx context.Context, name string) error {
	_, err := e.cli.ImageRemove(ctx, name, client.ImageRemoveOptions{})
	if err != nil && !errdefs.IsNotFound(err) {
		return explain(ctx, e.cli, "take away the temporary name "+name, err)
	}
	return nil
}

// tidyPulls takes away the names that killed runs have left, and what they pulled
// in vain.
func (e *engine) tidyPulls(ctx context.Context, events pipeline.Events) {
	list, err := e.cli.ImageList(ctx, client.ImageListOptions{Filters: client.Filters{}.Add("reference", "127.0.0.1:*"+pullPath)})
	if err != nil {
		events.Detail(fmt.Sprintf("what killed runs have left cannot be listed: %v", explain(ctx, e.cli, "list images", err)))
		return
	}
	for _, i := range list.Items {
		for _, name := range i.RepoTags {
			repository, tag, ok := cutTag(name)
			if at := strings.LastIndexByte(tag, '.'); !ok || at < 0 || !strings.HasPrefix(repository, "127.0.0.1:") || !strings.HasSuffix(repository, pullPath) || !process.Ended(tag[:at]) {
				continue
			}
			if err := e.forgetPull(ctx, name); err != nil {
				events.Detail(fmt.Sprintf("what a killed run has left is still there: %v", err))
			}
		}
	}
}
