package pull

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// blobs are the blobs of an upstream's repositories.
type blobs struct{ *upstream }

func (*blobs) Mount(context.Context, string, string, digest.Digest) error {
	return errors.ErrUnsupported
}

func (*blobs) Delete(context.Context, string, digest.Digest) error { return errors.ErrUnsupported }

// Stat says how large a blob is: one that is here, or arrives, or that a manifest
// told of. Else who holds it is asked; where the client is going to read it
// (registry.Reads), by fetching it, so that it costs one question in all.
func (b *blobs) Stat(ctx context.Context, repository string, d digest.Digest) (int64, error) {
	reads := registry.Reads(ctx)
	if size, err := b.kept(ctx, repository, d); err == nil || !errors.Is(err, pipeline.ErrNotFound) {
		saved := int64(0)
		if reads {
			saved = size
		}
		b.saw("blob", err == nil, saved)
		return size, err
	}
	key := flightKey{repository, d}
	if !reads {
		if f, leave := b.flights.join(key, nil); f != nil {
			defer leave()
			return f.wait(ctx)
		}
		return b.ask(ctx, key)
	}
	b.looked("blob", false)
	f, leave, err := b.fly(key) //nolint:contextcheck // the fetch outlives who asked first
	if err != nil {
		return 0, b.answer(err)
	}
	attend(ctx, leave)
	size, err := f.wait(ctx)
	return size, b.answer(err)
}

// Open reads a blob, while it arrives if it must.
func (b *blobs) Open(ctx context.Context, repository string, d digest.Digest, offset int64) (io.ReadCloser, error) {
	rc, err := b.open(ctx, repository, d, offset)
	if !errors.Is(err, pipeline.ErrNotFound) {
		return rc, err
	}
	f, leave, err := b.fly(flightKey{repository, d}) //nolint:contextcheck // the fetch outlives who asked first
	if err != nil {
		return nil, b.answer(err)
	}
	if _, err := f.wait(ctx); err != nil {
		leave()
		return nil, b.answer(err)
	}
	if rc, ok := f.reader(ctx, offset, leave, b.past); ok {
		return rc, nil
	}
	defer leave()
	if err := f.whenWhole(ctx); err != nil {
		if full := new(keepError); errors.As(err, &full) {
			rc, err := b.past(ctx, f, offset)
			return rc, b.answer(err)
		}
		return nil, b.answer(err)
	}
	return b.open(ctx, repository, d, offset)
}

// places are the spaces that may hold a blob of a repository: what its filters made,
// and what the upstream has.
func (u *upstream) places(repository string) ([]Space, error) {
	r, err := u.rule(repository)
	if err != nil {
		return nil, err
	}
	if r.made == nil {
		return []Space{u.mirror}, nil
	}
	return []Space{r.made, u.mirror}, nil
}

// kept is the size of a blob that is here.
func (u *upstream) kept(ctx context.Context, repository string, d digest.Digest) (int64, error) {
	places, err := u.places(repository)
	if err != nil {
		return 0, err
	}
	for _, p := range places {
		size, err := p.Backend().Blobs.Stat(ctx, repository, d)
		if !errors.Is(err, pipeline.ErrNotFound) {
			return size, err
		}
	}
	return 0, missing("blob " + d.String())
}

// open reads a blob that is here.
func (u *upstream) open(ctx context.Context, repository string, d digest.Digest, offset int64) (io.ReadCloser, error) {
	places, err := u.places(repository)
	if err != nil {
		return nil, err
	}
	for _, p := range places {
		rc, err := p.Backend().Blobs.Open(ctx, repository, d, offset)
		if !errors.Is(err, pipeline.ErrNotFound) {
			return rc, err
		}
	}
	return nil, missing("blob " + d.String())
}

// ask is the size of a blob that is not here, and is not to be fetched.
func (u *upstream) ask(ctx context.Context, key flightKey) (int64, error) {
	what := "blob/" + key.repository + "@" + key.digest.String()
	if err := u.refused(what); err != nil {
		return 0, u.answer(err)
	}
	if b, ok := u.sizes.Get(key); ok {
		return b.size, nil
	}
	if k := u.p.c.Keeper; k != nil {
		size, err := k.Backend().Blobs.Stat(ctx, u.below(key.repository), key.digest)
		if err == nil {
			return size, nil
		}
		u.failed(sideDownstream, err)
	}
	if err := u.ready(); err != nil {
		return 0, err
	}
	size, err := shared(ctx, u, what, func(ctx context.Context) (int64, error) {
		return u.remote(key.repository).StatBlob(ctx, key.digest)
	})
	if err != nil {
		u.refuse(what, err)
		u.failed(sideUpstream, err)
		return 0, u.answer(err)
	}
	u.sizes.Add(key, told{size, nil})
	return size, nil
}

// ready says why the upstream cannot be asked for what is not kept; nil if it can.
func (u *upstream) ready() error {
	if u.Offline {
		return missing("offline " + u.Host)
	}
	if wait, ok := u.mayAsk(false); !ok {
		return u.busy(wait)
	}
	return nil
}

// fly finds or starts the flight of a blob, as one of its readers until leave.
func (u *upstream) fly(key flightKey) (*flight, func(), error) {
	what := "blob/" + key.repository + "@" + key.digest.String()
	if err := u.refused(what); err != nil {
		return nil, nil, err
	}
	done, ok := u.p.fly()
	if !ok {
		return nil, nil, errClosed
	}
	started := false
	f, leave := u.flights.join(key, func() *flight {
		started = true
		ctx, cancel := context.WithCancelCause(u.p.ctx)
		f := newFlight(key, cancel)
		go func() {
			defer done()
			defer cancel(nil)
			err := u.fill(ctx, f)
			u.refuse(what, err)
			f.end(err)
			u.flights.drop(f)
			f.release()
			if full := new(keepError); errors.As(err, &full) {
				u.warn("a blob could not be kept", fmt.Errorf("blob %s: %w", key.digest, full.err))
			}
			if err == nil {
				u.arrived(key)
			}
		}()
		return f
	})
	if !started {
		done()
	}
	return f, leave, nil
}
