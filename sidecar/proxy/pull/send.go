package pull

import (
	"context"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// resendAfter is how long an image that downstream did not take waits until it is sent
// again, if somebody asks for it then.
const resendAfter = time.Minute

// mayResend says whether what failed at a time may be tried again; not what did not
// fail. After a clock was set back it may.
func (u *upstream) mayResend(failed time.Time) bool {
	age := u.p.c.Now().Sub(failed)
	return !failed.IsZero() && (age < 0 || age >= resendAfter)
}

// A shipment is what filters made of a tag, on its way downstream, or there.
type shipment struct {
	made   digest.Digest
	failed time.Time // when downstream did not take it; zero if it did, or has yet to
}

// send puts what filters made of a manifest downstream, behind the client's back, under
// its tag unless that is "" or was there already. It is called whenever a client gets it:
// the process that made it may have been killed, downstream was perhaps away, and the
// image may have got another tag since.
func (u *upstream) send(repository, tag string, of, made digest.Digest, r *rule) {
	if u.p.c.Keeper == nil {
		return
	}
	key := r.Key() + "/" + repository + ":" + tag
	if tag == "" {
		key += "@" + of.String()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if s, ok := u.shipped.Get(key); ok && s.made == made && !u.mayResend(s.failed) {
		return
	}
	u.shipped.Add(key, shipment{made: made})
	if !u.p.background(func(ctx context.Context) {
		if !u.ship(ctx, repository, tag, of, made, r) {
			u.shipped.Add(key, shipment{made, u.p.c.Now()})
		}
	}) {
		u.shipped.Remove(key)
	}
}

// ship sends it unless it is there under its last tag, and says whether it is there now.
func (u *upstream) ship(ctx context.Context, repository, tag string, of, made digest.Digest, r *rule) bool {
	tags := []string{madeTag(r.Key(), of)}
	if tag != "" {
		tags = append(tags, tag, lastTag(r.Key(), tag))
	}
	if u.isBelow(ctx, repository, tags[len(tags)-1], made) { // they are put in their order
		return true
	}
	// What another proxy has made is there with its blobs, which need not be here.
	src := registry.NewSource(r.made.Backend(), repository, registry.Ref{Digest: made}, nil)
	if tag != "" && u.isBelow(ctx, repository, tags[0], made) {
		src = registry.NewSource(u.p.c.Keeper.Backend(), u.below(repository), registry.Ref{Digest: made}, nil)
	}
	return u.deliver(ctx, repository, tags, src)
}

// isBelow says whether downstream has something under a tag; if it cannot be asked, it
// has not.
func (u *upstream) isBelow(ctx context.Context, repository, tag string, d digest.Digest) bool {
	desc, err := u.p.c.Keeper.Backend().Manifests.Stat(ctx, u.below(repository), registry.Ref{Tag: tag})
	return err == nil && desc.Digest == d
}

// deliver runs an image downstream, with all that it has.
func (u *upstream) deliver(ctx context.Context, repository string, tags []string, src pipeline.Source) bool {
	err := func() error {
		sink, err := u.p.c.Keeper.Sink(ctx, u.below(repository), tags)
		if err != nil {
			return err
		}
		_, err = pipeline.Run(ctx, src, nil, verbatim{sink}, pipeline.Options{
			Query: pipeline.Query{Platforms: pipeline.Platforms{All: true}}, Parallel: u.p.c.Parallel, Retries: makeRetries, TempDir: u.p.c.TempDir,
		})
		return err
	}()
	if err != nil {
		u.failed(sideDownstream, err)
		u.warn(fmt.Sprintf("%s/%s could not be sent downstream", u.Host, repository), err)
	}
	return err == nil
}

// verbatim is a sink that gets layers as they are: a digest that clients know must not
// become another one, as it does where plain layers are compressed on their way.
type verbatim struct{ pipeline.Sink }

func (v verbatim) Plan(ctx context.Context, l pipeline.Layer) (pipeline.Plan, error) {
	plan, err := v.Sink.Plan(ctx, l)
	return pipeline.Plan{Held: plan.Held, Encoding: pipeline.AsItCame}, err
}
