package pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// tags are the lists of tags of an upstream's repositories.
type tags struct{ *upstream }

var _ registry.Tags = (*tags)(nil)

func (*tags) Delete(context.Context, string, string) error { return errors.ErrUnsupported }

// List asks the upstream, whose list is the only whole one. Those that were pulled
// stand in while it cannot be asked.
func (t *tags) List(ctx context.Context, repository, last string, n int) ([]string, error) {
	if t.Offline {
		return t.mirror.Backend().Tags.List(ctx, repository, last, n)
	}
	what := "tags/" + repository
	if err := t.refused(what); err != nil {
		return nil, t.answer(err)
	}
	err := t.ready()
	if err == nil {
		var list []string
		list, err = shared(ctx, t.upstream, fmt.Sprintf("%s?last=%s&n=%d", what, last, n), func(ctx context.Context) ([]string, error) {
			return t.remote(repository).Tags(ctx, last, n)
		})
		if err == nil {
			return list, nil
		}
		t.refuse(what, err)
		t.failed(sideUpstream, err)
	}
	if t.passing(err) {
		if list, kept := t.mirror.Backend().Tags.List(ctx, repository, last, n); kept == nil {
			t.warn("the tags that are kept stand for those of "+t.Host+"/"+repository, err)
			return list, nil
		}
	}
	return nil, t.answer(err)
}

// referrers are the lists of what refers to a manifest.
type referrers struct{ *upstream }

var _ registry.Referrers = (*referrers)(nil)

// A referral is a list as a fact of the mirror.
type referral struct {
	Checked time.Time    `json:"checked"`
	List    []descriptor `json:"list"`
}

// List is what the upstream lists, believed as long as a tag is, and what filters made
// here that refers to the same.
func (r *referrers) List(ctx context.Context, repository string, subject digest.Digest) ([]descriptor, error) {
	list, err := r.listed(ctx, repository, subject)
	if err != nil {
		return nil, r.answer(err)
	}
	rule, err := r.rule(repository)
	if err != nil || rule.made == nil {
		return list, err
	}
	own, err := rule.made.Backend().Referrers.List(ctx, repository, subject)
	if err != nil && !errors.Is(err, pipeline.ErrNotFound) {
		return nil, err
	}
	seen := map[digest.Digest]bool{}
	for _, d := range list {
		seen[d.Digest] = true
	}
	list = list[:len(list):len(list)] // others have it too
	for _, d := range own {
		if !seen[d.Digest] {
			list = append(list, d)
		}
	}
	return list, nil
}

func (r *referrers) listed(ctx context.Context, repository string, subject digest.Digest) ([]descriptor, error) {
	fact := "referrers/" + subject.String()
	var kept referral
	raw, err := r.mirror.Fact(ctx, repository, fact)
	have := err == nil && json.Unmarshal(raw, &kept) == nil
	if err != nil && !errors.Is(err, pipeline.ErrNotFound) {
		return nil, err
	}
	at := expired
	if have {
		at = r.Times.of(kept.Checked, r.p.c.Now())
	}
	if at == fresh || r.Offline || at == stale && r.isBroken() {
		return kept.List, nil
	}
	list, err := shared(ctx, r.upstream, fact+"@"+repository, func(ctx context.Context) ([]descriptor, error) {
		if err := r.refused(fact + "@" + repository); err != nil {
			return nil, err
		}
		if wait, ok := r.mayAsk(have); !ok {
			return nil, r.busy(wait)
		}
		list, err := r.remote(repository).Referrers(ctx, subject)
		if err != nil {
			r.refuse(fact+"@"+repository, err)
			r.failed(sideUpstream, err)
			return nil, err
		}
		if len(list) == 0 && !r.knows(ctx, repository, subject) {
			return list, nil // of any digest that a client makes up there are none
		}
		raw, err := json.Marshal(referral{r.p.c.Now(), list})
		if err == nil {
			err = r.mirror.SetFact(ctx, repository, fact, raw)
		}
		if err != nil {
			r.warn("a list of referrers could not be kept", err)
		}
		return list, nil
	})
	switch {
	case err == nil:
		return list, nil
	case errors.Is(err, pipeline.ErrNotFound):
		return nil, nil
	case have && at != expired && r.passing(err):
		return kept.List, nil
	}
	return nil, err
}

// knows says whether a manifest is kept here.
func (u *upstream) knows(ctx context.Context, repository string, d digest.Digest) bool {
	places, err := u.places(repository)
	if err != nil {
		return false // the rule is broken, which is told to who asks
	}
	for _, p := range places {
		if _, err := p.Backend().Manifests.Stat(ctx, repository, registry.Ref{Digest: d}); err == nil {
			return true
		}
	}
	return false
}
