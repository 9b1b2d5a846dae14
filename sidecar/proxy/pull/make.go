package pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

// makeRetries is how often a layer is run again whose transfer failed for now.
const makeRetries = 2

// An outcome is what the filters of a rule made of a manifest, as a fact of the space
// that has it. One of the two is set.
type outcome struct {
	Desc   ocispec.Descriptor `json:"desc,omitzero"`
	Denied string             `json:"denied,omitempty"`
}

func outcomeFact(of digest.Digest) string { return "of/" + of.String() }

// make is what the filters make of an image or index, which goes downstream as well.
// The tag may be "".
func (u *upstream) make(ctx context.Context, repository, tag string, of ocispec.Descriptor, r *rule) (found, error) {
	got, err := u.makeOnce(ctx, repository, tag, of, r)
	if err == nil {
		u.send(repository, tag, of.Digest, got.desc.Digest, r)
	}
	return got, err
}

// makeOnce is what the filters make: known, downstream, or made now, once for all who
// ask meanwhile.
func (u *upstream) makeOnce(ctx context.Context, repository, tag string, of ocispec.Descriptor, r *rule) (found, error) {
	key := "make/" + r.Key() + "/" + repository + "@" + of.Digest.String()
	now := u.p.c.Now()
	if desc, raw, ok := u.memo.get(key, now); ok {
		u.looked("manifest", true)
		return found{desc: desc, raw: raw}, nil
	}
	got, err := u.madeBefore(ctx, repository, of.Digest, r)
	if err == nil {
		u.looked("manifest", true)
		u.memo.put(key, got.desc, got.raw, now)
	}
	if !errors.Is(err, pipeline.ErrNotFound) {
		return got, err
	}
	u.looked("manifest", false)
	return shared(ctx, u, key, func(ctx context.Context) (found, error) {
		began := u.p.c.Now()
		got, err := u.adopt(ctx, repository, tag, of.Digest, r)
		if err == nil {
			u.pulled(Image{Repository: repository, Tags: tagList(tag), Received: of.Digest, Stored: got.desc.Digest}, began)
		}
		if !errors.Is(err, pipeline.ErrNotFound) {
			return got, err
		}
		return u.run(ctx, repository, tag, of.Digest, r)
	})
}

// madeBefore is what the filters are known to have made; ErrNotFound if that is not
// known, or not here any more.
func (u *upstream) madeBefore(ctx context.Context, repository string, of digest.Digest, r *rule) (found, error) {
	o, err := readOutcome(ctx, r.made, repository, outcomeFact(of))
	switch {
	case err != nil:
		return found{}, err
	case o.Denied != "":
		return found{}, denied(o.Denied)
	}
	return get(ctx, r.made, repository, o.Desc.Digest)
}

// run makes it.
func (u *upstream) run(ctx context.Context, repository, tag string, of digest.Digest, r *rule) (found, error) {
	if err := u.ready(); err != nil {
		return found{}, err
	}
	select {
	case u.p.slots <- struct{}{}:
		defer func() { <-u.p.slots }()
	case <-ctx.Done():
		return found{}, context.Cause(ctx)
	}
	filters, err := r.Filters()
	if err != nil {
		return found{}, err
	}
	began := u.p.c.Now()
	image := Image{Repository: repository, Tags: tagList(tag), Received: of}
	src := u.remote(repository).Source(registry.Ref{Tag: tag, Digest: of})
	made := r.made.Backend()
	sink := judging{registry.NewSink(made, repository, tagList(tag)), func(ctx context.Context, m pipeline.Manifest) error {
		return u.judgeUnread(ctx, made.Blobs, repository, m, r)
	}}
	report, err := pipeline.Run(ctx, src, filters, sink, u.options(r))
	if err != nil {
		image.Err = u.verdict(ctx, repository, outcomeFact(of), r, err)
		u.pulled(image, began)
		return found{}, image.Err
	}
	u.received(sideUpstream, report.Read)
	if len(report.Roots) != 1 {
		return found{}, fmt.Errorf("the filters made %d images of %s of %s", len(report.Roots), of, repository)
	}
	desc := plain(report.Roots[0].Manifest)
	u.note1(ctx, r.made, repository, outcomeFact(of), outcome{Desc: desc})
	image.Stored, image.Bytes, image.Reused = desc.Digest, report.Read, report.Reused
	u.pulled(image, began)
	return get(ctx, r.made, repository, desc.Digest)
}

// options of a run, which carries all platforms through: a client chooses.
func (u *upstream) options(r *rule) pipeline.Options {
	return pipeline.Options{
		Query:    pipeline.Query{Platforms: pipeline.Platforms{All: true}},
		Parallel: u.p.c.Parallel, Retries: makeRetries, Attestations: r.Attestations, TempDir: u.p.c.TempDir, Cache: u.p.c.Cache,
	}
}

func tagList(tag string) []string {
	if tag == "" {
		return nil
	}
	return []string{tag}
}

// verdict is the error of a run. That of a deny filter is remembered, since it will be
// the same again.
func (u *upstream) verdict(ctx context.Context, repository, fact string, r *rule, err error) error {
	refused := rules.Denied(err)
	if refused == nil {
		var side *pipeline.Error
		if errors.As(err, &side) && side.Side == pipeline.SourceSide {
			u.failed(sideUpstream, err)
			return err
		}
		return fmt.Errorf("filter %s/%s: %w", u.Host, repository, internal(err))
	}
	u.note1(ctx, r.made, repository, fact, outcome{Denied: refused.Message})
	return refused
}

// note1 keeps one fact.
func (u *upstream) note1(ctx context.Context, s Space, repository, fact string, o outcome) {
	raw, err := json.Marshal(o)
	if err == nil {
		err = s.SetFact(ctx, repository, fact, raw)
	}
	if err != nil {
		u.warn("what became of an image could not be noted", err)
	}
}

// readOutcome reads a fact; one that cannot be read is none.
func readOutcome(ctx context.Context, s Space, repository, fact string) (o outcome, err error) {
	raw, err := s.Fact(ctx, repository, fact)
	if err != nil {
		return o, err
	}
	if json.Unmarshal(raw, &o) != nil || o.Denied == "" && o.Desc.Digest.Validate() != nil {
		return outcome{}, missing(fact)
	}
	return o, nil
}
