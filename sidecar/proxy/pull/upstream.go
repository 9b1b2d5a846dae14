package pull

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/singleflight"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
)

const (
	// manySmall bounds what is remembered of tags, sizes and answers, each of which
	// takes a few hundred bytes.
	manySmall = 8192
	// manyRules bounds the repositories whose rule is remembered.
	manyRules = 1024
)

// An upstream is what is known of one registry.
type upstream struct {
	Upstream
	p      *Pull
	mirror Space
	name   string // of its spaces, behind "mirror/" and "made/"

	flights flights
	once    singleflight.Group // of questions that no blob is the answer to

	rules *lru.Cache[string, *rule]
	notes *lru.Cache[string, note]          // by REPOSITORY:TAG
	names *lru.Cache[flightKey, []string]   // tags that pointed at a manifest when they were looked at
	tags  *lru.Cache[string, digest.Digest] // what tags of filtered images point at, by SPACE/REPOSITORY:TAG
	sizes *lru.Cache[flightKey, told]       // of blobs that manifests told
	gone  *lru.Cache[string, refusal]       // what the upstream does not have
	memo  memo                              // manifests, for requests in a row
	wants *lru.Cache[flightKey, *forwards]  // images that are to go downstream once they are whole
	// shipped are the tags of images of filters that are downstream, or on their way.
	shipped *lru.Cache[string, shipment]

	mu         sync.Mutex
	down       time.Time          // until then it is taken to be out of order
	low        time.Time          // since when little of its budget is left
	refreshing map[flightKey]bool // tags that are checked in the background
}

func newUpstream(p *Pull, u Upstream) (*upstream, error) {
	if u.Host == "" || u.Client == nil && !u.Offline {
		return nil, errors.New("an upstream needs a host, and a client")
	}
	if u.Address == "" {
		u.Address = u.Host
	}
	u.Times = u.Times.withDefaults()
	name := u.Host
	if u.Login != "" {
		name += "/" + digest.FromString(u.Login).Encoded()[:16] // any text may be a login
	}
	made := &upstream{Upstream: u, p: p, name: name, mirror: p.c.Space("mirror/" + name), refreshing: map[flightKey]bool{}}
	made.memo.init()
	var errs []error
	keep := func(err error) { errs = append(errs, err) }
	var err error
	made.rules, err = lru.New[string, *rule](manyRules)
	keep(err)
	made.notes, err = lru.New[string, note](manySmall)
	keep(err)
	made.names, err = lru.New[flightKey, []string](manySmall)
	keep(err)
	made.tags, err = lru.New[string, digest.Digest](manySmall)
	keep(err)
	made.sizes, err = lru.New[flightKey, told](manySmall)
	keep(err)
	made.gone, err = lru.New[string, refusal](manySmall)
	keep(err)
	made.wants, err = lru.New[flightKey, *forwards](manyRules)
	keep(err)
	made.shipped, err = lru.New[string, shipment](manySmall)
	keep(err)
	return made, errors.Join(errs...)
}

// remote is a repository of the registry itself.
func (u *upstream) remote(repository string) *remote.Repository {
	return u.Client.Repository(u.Address, repository)
}

// below is what a repository is called downstream: by its host first. No name of a
// repository has a colon; with ".port-" it looks like a host all the same, and so is none
// that a push can name.
func (u *upstream) below(repository string) string {
	return strings.ReplaceAll(u.Host, ":", ".port-") + "/" + repository
}

// fullName is how users call an image.
func (u *upstream) fullName(repository, tag string) string {
	return fmt.Sprintf("%s/%s:%s", u.Host, repository, tag)
}

// shared does something once for all who ask for it meanwhile. It goes on when who
// asked first has gone, until the Pull is closed.
func shared[T any](ctx context.Context, u *upstream, key string, do func(ctx context.Context) (T, error)) (T, error) {
	ch := u.once.DoChan(key, func() (v any, err error) {
		done, ok := u.p.fly()
		if !ok {
			return nil, errClosed
		}
		defer done()
		defer recovered(&err)
		return do(u.p.ctx)
	})
	var none T
	select {
	case r := <-ch:
		if r.Err != nil {
			return none, r.Err
		}
		return r.Val.(T), nil //nolint:forcetypeassert // one key has one type
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// recovered makes an error of a panic in a goroutine that no server guards: what comes
// from strangers must not end the process.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("it panics: %v", r)
	}
}

// The rest tells what happens.

func (u *upstream) looked(kind string, hit bool) { u.saw(kind, hit, 0) }

// saw tells of a look-up, and of the bytes that need not come.
func (u *upstream) saw(kind string, hit bool, size int64) {
	if f := u.p.c.Watch.Looked; f != nil {
		f(u.Host, kind, hit, size)
	}
}

func (u *upstream) received(side string, n int64) {
	if f := u.p.c.Watch.Received; f != nil && n > 0 {
		f(u.Host, side, n)
	}
}

func (u *upstream) failed(side string, err error) {
	if f := u.p.c.Watch.Failed; f != nil && !errors.Is(err, pipeline.ErrNotFound) && !errors.Is(err, context.Canceled) {
		f(u.Host, side, err)
	}
}

func (u *upstream) warn(message string, err error) {
	if f := u.p.c.Watch.Warn; f != nil && !errors.Is(err, context.Canceled) {
		f(u.Host, message, err)
	}
}

const (
	sideUpstream   = "upstream"
	sideDownstream = "downstream"
)

// told is what a manifest tells of a blob: its size, and the space that the manifest
// is in; nil for none.
type told struct {
	size  int64
	space Space
}

// learn remembers what a manifest tells of its blobs.
func (u *upstream) learn(s Space, repository string, m registry.Manifest) {
	for _, d := range m.Blobs {
		if len(d.URLs) == 0 {
			u.sizes.Add(flightKey{repository, d.Digest}, told{d.Size, s})
		}
	}
}
