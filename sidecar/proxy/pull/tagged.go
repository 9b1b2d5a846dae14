package pull

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
)

// checkTime is how long an upstream may take to tell about a tag that is kept here;
// then it is taken to be out of order.
const checkTime = 10 * time.Second

// errOffline is why an upstream was not asked.
var errOffline = errors.New("the upstream is not asked")

// byTag is what a tag stands for here: the upstream's manifest, or what the filters
// make of it.
func (u *upstream) byTag(ctx context.Context, repository, tag string, r *rule, bytes bool) (found, error) {
	n, got, err := u.resolve(ctx, repository, tag, bytes && r.made == nil)
	if err != nil && (errors.Is(err, errOffline) || u.passing(err)) {
		if got, below := u.downstreamTag(ctx, repository, tag, r); below == nil {
			return got, nil
		}
	}
	if err != nil {
		return found{}, err
	}
	if r.made != nil {
		got, err := u.make(ctx, repository, tag, n.Desc, r)
		if err == nil {
			u.point(ctx, repository, tag, got, r)
		}
		return got, err
	}
	if got.raw != nil || !bytes {
		return found{desc: n.Desc, raw: got.raw}, nil
	}
	got, err = u.exact(ctx, repository, n.Desc, []string{tag}, r)
	if err == nil {
		u.forward(repository, tag, got)
	}
	return got, err
}

// resolve is what the upstream's tag points at, as far as that need be asked. bytes:
// if it must be asked and nothing is kept, the manifest itself may be had with the
// answer, which spares a question.
func (u *upstream) resolve(ctx context.Context, repository, tag string, bytes bool) (note, found, error) {
	n, have, err := u.note(ctx, repository, tag)
	if err != nil {
		return note{}, found{}, err
	}
	now := u.p.c.Now()
	at := expired
	if have {
		at = u.Times.of(n.Checked, now)
	}
	switch {
	case u.Offline && have:
		return n, found{}, nil
	case u.Offline:
		return note{}, found{}, fmt.Errorf("tag %s: %w: %w", tag, errOffline, pipeline.ErrNotFound)
	case at == fresh:
		return n, found{}, nil
	case at == aging:
		u.refresh(repository, tag, n)
		return n, found{}, nil
	case at == stale && u.isBroken():
		return n, found{}, nil
	}
	checked, err := u.check(ctx, repository, tag, n, have, bytes)
	if err == nil {
		return checked.note, checked.found, nil
	}
	if at == stale && u.passing(err) {
		u.warn("an old answer is given for "+u.fullName(repository, tag), err)
		return n, found{}, nil
	}
	return note{}, found{}, err
}

// passing says whether what is kept may stand in for the answer that an error is in
// the place of (RFC 5861, stale-if-error).
func (u *upstream) passing(err error) bool {
	var busy *registry.Error
	return remote.Passing(err) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &busy) && busy.Code == registry.TooManyRequests
}

// refresh checks a tag in the background, once at a time.
func (u *upstream) refresh(repository, tag string, n note) {
	if u.isBroken() {
		return
	}
	key := flightKey{repository, digest.Digest(tag)}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.refreshing[key] {
		return
	}
	u.refreshing[key] = true
	done := func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.refreshing, key)
	}
	started := u.p.background(func(ctx context.Context) {
		defer done()
		if _, err := u.check(ctx, repository, tag, n, true, false); err != nil && !errors.Is(err, pipeline.ErrNotFound) {
			u.warn("a tag could not be checked: "+u.fullName(repository, tag), err)
		}
	})
	if !started {
		delete(u.refreshing, key)
	}
}

// A checked tag was just told by the upstream, with the manifest where it came along.
type checked struct {
	note  note
	found found
}

// check asks the upstream for a tag, once for all who ask meanwhile.
func (u *upstream) check(ctx context.Context, repository, tag string, old note, have, bytes bool) (checked, error) {
	whole := bytes && !have && u.p.c.Keeper == nil
	kind := "head/"
	if whole {
		kind = "get/"
	}
	return shared(ctx, u, kind+repository+":"+tag, func(ctx context.Context) (checked, error) {
		var got found
		var err error
		began := u.p.c.Now()
		if whole {
			got, err = u.fetch(ctx, repository, registry.Ref{Tag: tag})
		} else {
			got.desc, err = u.stat(ctx, repository, registry.Ref{Tag: tag}, have)
		}
		switch {
		case errors.Is(err, pipeline.ErrNotFound):
			u.forget(ctx, repository, tag)
			return checked{}, err
		case err != nil:
			if have && u.passing(err) {
				u.broken()
			}
			return checked{}, err
		}
		n := note{Checked: u.p.c.Now(), Desc: plain(got.desc)}
		if got.raw != nil {
			if err := u.keep(ctx, u.mirror, repository, got, []string{tag}); err != nil {
				return checked{}, err
			}
			u.mirrored(repository, []string{tag}, got, began)
			u.memo.put("exact/"+repository+"@"+got.desc.Digest.String(), got.desc, got.raw, n.Checked)
			u.looked("manifest", false)
		}
		u.remember(ctx, repository, tag, n, have && old.Desc.Digest == n.Desc.Digest)
		return checked{n, got}, nil
	})
}

// plain is what a tag's note needs of a descriptor.
func plain(d ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}

// note is what is known of a tag.
func (u *upstream) note(ctx context.Context, repository, tag string) (note, bool, error) {
	key := repository + ":" + tag
	if n, ok := u.notes.Get(key); ok {
		return n, true, nil
	}
	raw, err := u.mirror.Fact(ctx, repository, tagFact(tag))
	if errors.Is(err, pipeline.ErrNotFound) || err == nil && len(raw) == 0 {
		return note{}, false, nil
	}
	if err != nil {
		return note{}, false, err
	}
	n, ok := decodeNote(raw)
	if ok {
		u.notes.Add(key, n)
		u.named(repository, tag, n.Desc.Digest)
	}
	return n, ok, nil
}

// remember notes what a tag points at. The same says that the mirror has the tag
// there already.
func (u *upstream) remember(ctx context.Context, repository, tag string, n note, same bool) {
	u.notes.Add(repository+":"+tag, n)
	u.named(repository, tag, n.Desc.Digest)
	raw, err := n.encode()
	if err == nil {
		err = u.mirror.SetFact(ctx, repository, tagFact(tag), raw)
	}
	if err != nil {
		u.warn("what is known of a tag could not be kept", err)
	}
	if same {
		return
	}
	// Where the manifest is here already, the tag moves at once; else with its bytes.
	if got, err := get(ctx, u.mirror, repository, n.Desc.Digest); err == nil {
		if err := u.keep(ctx, u.mirror, repository, got, []string{tag}); err != nil {
			u.warn("a tag could not be kept", err)
		}
	}
}

// forget removes a tag that the upstream has no more. What it pointed at stays, for
// those who name it by its digest.
func (u *upstream) forget(ctx context.Context, repository, tag string) {
	u.notes.Remove(repository + ":" + tag)
	if err := u.mirror.SetFact(ctx, repository, tagFact(tag), nil); err != nil && !errors.Is(err, pipeline.ErrNotFound) {
		u.warn("a tag could not be forgotten", err)
	}
	spaces, err := u.places(repository)
	if err != nil {
		return // the rule is broken, which is told to who asks
	}
	for _, s := range spaces {
		if err := s.Backend().Tags.Delete(ctx, repository, tag); err != nil && !errors.Is(err, pipeline.ErrNotFound) {
			u.warn("a tag could not be removed", err)
		}
	}
}
