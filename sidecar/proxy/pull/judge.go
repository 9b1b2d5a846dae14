package pull

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

func judgedFact(d digest.Digest) string { return "judged/" + d.String() }

// allowed says whether a client may have a manifest that it names by its digest, and
// that no filter made: as it is, or not at all. An index is nothing but a list: its
// images are judged when they are asked for.
func (u *upstream) allowed(ctx context.Context, repository string, got found, r *rule) error {
	switch {
	case r.Digest == rules.DigestRefuse:
		return u.unchanged(ctx, repository, got, r)
	case !r.judges || pipeline.IsIndex(got.desc.MediaType):
		return nil
	}
	fact := judgedFact(got.desc.Digest)
	o, err := readOutcome(ctx, r.made, repository, fact)
	switch {
	case err == nil && o.Denied != "":
		return denied(o.Denied)
	case err == nil || !errors.Is(err, pipeline.ErrNotFound):
		return err
	}
	_, err = shared(ctx, u, fact+"/"+r.Key()+"/"+repository, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, u.judge(ctx, repository, got, r)
	})
	return err
}

// judge shows an image as it is to the filters that may refuse it.
func (u *upstream) judge(ctx context.Context, repository string, got found, r *rule) error {
	judges, err := r.Judges()
	if err != nil {
		return err
	}
	fact := judgedFact(got.desc.Digest)
	began := u.p.c.Now()
	name := u.Host + "/" + repository + "@" + got.desc.Digest.String()
	src := registry.NewSource(u.exactly(), repository, registry.Ref{Digest: got.desc.Digest}, []string{name})
	err = pipeline.Look(ctx, src, judges, u.options(r))
	if err == nil {
		err = u.judgeUnread(ctx, u.exactly().Blobs, repository, pipeline.Manifest{Desc: got.desc, Raw: got.raw}, r)
	}
	if err != nil {
		err = u.verdict(ctx, repository, fact, r, err)
		u.pulled(Image{Repository: repository, Received: got.desc.Digest, Err: err}, began)
		return err
	}
	u.mirrored(repository, nil, got, began)
	u.note1(ctx, r.made, repository, fact, outcome{Desc: plain(got.desc)})
	return nil
}

// judgeUnread shows what a run leaves alone to the filters that may refuse it.
func (u *upstream) judgeUnread(ctx context.Context, b registry.Blobs, repository string, m pipeline.Manifest, r *rule) error {
	parsed, err := registry.ParseManifest(m.Desc.MediaType, m.Raw, m.Desc.Digest.Algorithm())
	if err != nil {
		return fmt.Errorf("manifest %s: %w", m.Desc.Digest, err)
	}
	return r.JudgeUnread(ctx, b, repository, parsed, u.options(r))
}

// A judging sink takes no manifest before the judges have seen all of its blobs, which are
// there by then.
type judging struct {
	*registry.Sink
	judge func(ctx context.Context, m pipeline.Manifest) error
}

// Commit takes one that they let pass.
func (j judging) Commit(ctx context.Context, m pipeline.Manifest) error {
	if err := j.judge(ctx, m); err != nil {
		return err
	}
	return j.Sink.Commit(ctx, m)
}

// unchanged refuses what the filters would change.
func (u *upstream) unchanged(ctx context.Context, repository string, got found, r *rule) error {
	made, err := u.make(ctx, repository, "", got.desc, r)
	if err != nil {
		return err
	}
	if made.desc.Digest != got.desc.Digest {
		return denied(fmt.Sprintf("images of %s/%s are filtered here and this digest names one that was not; pull it by its tag, or as %s", u.Host, repository, made.desc.Digest))
	}
	return nil
}

// exactly is the upstream without any rule.
func (u *upstream) exactly() registry.Backend {
	return registry.Backend{Blobs: &blobs{u}, Manifests: exactManifests{&manifests{u}}, Tags: &tags{u}}
}

// exactManifests judges nothing.
type exactManifests struct{ *manifests }

func (m exactManifests) Get(ctx context.Context, repository string, ref registry.Ref) (desc descriptor, raw []byte, err error) {
	got, err := m.exact(ctx, repository, descriptor{Digest: ref.Digest}, nil, nil)
	return got.desc, got.raw, err
}

func (m exactManifests) Stat(ctx context.Context, repository string, ref registry.Ref) (descriptor, error) {
	desc, _, err := m.Get(ctx, repository, ref)
	return desc, err
}

// denied is the answer that clients print.
func denied(sentence string) error {
	return &registry.Error{Code: registry.Denied, Message: sentence}
}

// internal is the answer to what failed here, and not upstream.
func internal(err error) error {
	return fmt.Errorf("%w: %w", &registry.Error{Code: "UNKNOWN", Status: http.StatusInternalServerError, Message: "the image could not be filtered; the log of the proxy tells why"}, err)
}
